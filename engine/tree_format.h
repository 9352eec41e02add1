/*
 * The tree's bytes (docs/format.md, "The tree"). Little-endian, 8-byte aligned
 * sections. Only tree*.c include this; everybody else sees engine/tree.h.
 */
#ifndef ENGINE_TREE_FORMAT_H
#define ENGINE_TREE_FORMAT_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "cache/cache.h"
#include "engine/tree.h"

#define TREE_MAGIC        "MOPSTREE"
#define TREE_VERSION      1u
#define TREE_NO_CHUNKS    UINT64_MAX
#define TREE_MAX_SECTIONS 64u
#define TREE_EXECUTABLE   1u
#define TREE_SOURCE_PART  5u /* a record that follows its run's */

/* Pointer files add ".json" to the name of an external file. */
#define TREE_EXTERNAL_NAME_MAX 250u

enum tree_section {
	TREE_NODES = 1,
	TREE_NAMES = 2,
	TREE_SOURCES = 3,
	TREE_CHUNKS = 4,
	TREE_SECTIONS = 4 /* how many version 1 knows */
};

struct tree_disk_header {
	char magic[8];
	uint32_t version;
	uint32_t node_size;
	uint64_t incompatible;
	uint64_t compatible;
	uint32_t n_sections;
	uint32_t zero;
};

struct tree_disk_section {
	uint32_t type;
	uint32_t zero;
	uint64_t offset;
	uint64_t length; /* without the padding that follows */
};

struct tree_disk_node {
	uint32_t name;
	uint16_t name_len;
	uint8_t kind;
	uint8_t flags;
	uint32_t parent;
	uint16_t layer;
	uint16_t target_len;
	union {
		struct {
			uint64_t size;
			uint64_t offset;
		} file;
		struct {
			uint32_t first;
			uint32_t count;
			uint64_t zero;
		} dir;
		struct {
			uint32_t target;
			uint32_t zero[3];
		} link;
	};
	uint32_t source;
	uint32_t zero;
	struct digest digest;
};

struct tree_disk_source {
	uint8_t kind;
	uint8_t tier;
	uint16_t zero;
	uint32_t n_parts;
	uint64_t size;
	struct digest digest;
	uint64_t first_chunk;
	uint32_t uri;
	uint32_t uri_len;
};

_Static_assert(sizeof(struct tree_disk_header) == 40, "header");
_Static_assert(sizeof(struct tree_disk_section) == 24, "section");
_Static_assert(sizeof(struct tree_disk_node) == 72, "node");
_Static_assert(offsetof(struct tree_disk_node, file) == 16, "node's union");
_Static_assert(offsetof(struct tree_disk_node, source) == 32, "node's source");
_Static_assert(offsetof(struct tree_disk_node, digest) == 40, "node's digest");
_Static_assert(sizeof(struct tree_disk_source) == 64, "source");
_Static_assert(offsetof(struct tree_disk_source, digest) == 16, "its digest");
_Static_assert(offsetof(struct tree_disk_source, uri) == 56, "its URI");

struct tree {
	const uint8_t *p;
	size_t len;
	void *map; /* NULL when over the caller's memory */
	const struct tree_disk_node *nodes;
	const char *names;
	const struct tree_disk_source *sources;
	const struct digest *chunks;
	uint32_t n_nodes;
	uint32_t n_sources;
	uint32_t n_layers;
	uint64_t names_len;
	uint64_t n_chunks;
};

/* Chunk digests of a source of @size bytes: none when it is its own chunk. */
static inline uint64_t tree_chunks_of(uint64_t size)
{
	if (size <= CHUNK_SIZE)
		return 0;
	return (size - 1) / CHUNK_SIZE + 1;
}

static inline uint64_t tree_align(uint64_t n)
{
	return (n + 7) & ~UINT64_C(7);
}

#endif
