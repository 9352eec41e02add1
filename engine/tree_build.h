/*
 * A tree in the making: shared by tree_builder.c, tree_encode.c and
 * tree_merge.c alone.
 */
#ifndef ENGINE_TREE_BUILD_H
#define ENGINE_TREE_BUILD_H

#include "base/path.h"
#include "engine/intern.h"
#include "engine/tree_builder.h"

struct build_node {
	uint32_t name; /* string */
	uint32_t parent;
	uint8_t kind;
	bool executable;
	uint16_t layer;
	union {
		uint32_t source; /* TREE_FILE: handle */
		uint32_t target; /* TREE_SYMLINK: string */
	};
	uint64_t size;
	uint64_t offset;
	struct digest digest;
};

struct build_source {
	enum tree_source_kind kind;
	enum tree_tier tier;
	struct digest digest;
	uint64_t size;
	size_t chunks; /* index of the first */
	uint32_t n_chunks;
	uint32_t n_parts;
	size_t parts; /* index of the first */
	uint32_t uri; /* string; TREE_NONE when not external */
};

struct tree_builder {
	struct intern strings;
	struct build_node *nodes;
	size_t n_nodes, cap_nodes;
	struct index32 by_place; /* (parent, name) → node */
	struct build_source *sources;
	size_t n_sources, cap_sources;
	struct index32 by_source;
	struct digest *chunks;
	size_t n_chunks, cap_chunks;
	struct tree_part *parts;
	size_t n_parts, cap_parts;
	/* The folder of the last entry: mostly that of the next, too. */
	char last_dir[PATH_BYTES_MAX];
	size_t last_len; /* 0: none */
	uint32_t last_node;
	uint16_t last_layer;
};

/* The child of node @parent named @s, or TREE_NONE. */
uint32_t build_child(const struct tree_builder *b, uint32_t parent,
		     const char *s, size_t n);
/*
 * The node at @path; when there is none, the last one on the way there that
 * exists.
 */
uint32_t build_find(const struct tree_builder *b, const char *path);
/* The path of node @i, appended to @out. */
void build_path(const struct tree_builder *b, uint32_t i, struct strbuf *out);

#endif
