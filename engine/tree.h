/*
 * The tree: one binary, mapped, bounds-checked table that says what a layer or
 * a role holds (docs/format.md, "The tree").
 *
 * A reader builds nothing on the heap. tree_open*() checks the header, the
 * section table and that no chunk lists are shared; everything else is checked
 * when it is touched, so that opening a tree of a million files costs next to
 * nothing. No input makes a reader loop, recurse without bound, or read outside
 * the mapping; what breaks the rules is -EBADMSG (kind ERROR_VALIDATION).
 *
 * Threads: a tree is immutable; any thread, no locks.
 */
#ifndef ENGINE_TREE_H
#define ENGINE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/strbuf.h"

#define TREE_NONE UINT32_MAX
#define TREE_ROOT 0u

enum tree_kind { TREE_DIR = 1, TREE_FILE = 2, TREE_SYMLINK = 3 };

enum tree_source_kind {
	TREE_SOURCE_BLOB = 1,     /* one file, one blob */
	TREE_SOURCE_RUN = 2,      /* one file, several part blobs */
	TREE_SOURCE_PACK = 3,     /* a tar of small files */
	TREE_SOURCE_EXTERNAL = 4, /* an object in a store */
};

enum tree_tier {
	TREE_TIER_NONE,
	TREE_TIER_HOT,
	TREE_TIER_COOL,
	TREE_TIER_ARCHIVE
};

struct tree;

/* Pointers lead into the tree's memory and live as long as it does. */
struct tree_node {
	enum tree_kind kind;
	bool executable;
	uint32_t parent;
	const char *name; /* not NUL-terminated; the root's is empty */
	uint16_t name_len;
	uint16_t layer; /* index into the role's layers; 0 in a layer's tree */
	/* TREE_DIR */
	uint32_t first, count;
	/* TREE_FILE; source TREE_NONE for an empty file */
	uint64_t size;
	uint64_t offset; /* in the source */
	uint32_t source;
	const struct digest *digest;
	/* TREE_SYMLINK */
	const char *target;
	uint16_t target_len;
};

struct tree_source {
	enum tree_source_kind kind;
	enum tree_tier tier;
	struct digest digest; /* a run: of the whole file */
	uint64_t size;
	const struct digest *chunks; /* NULL when size ≤ CHUNK_SIZE */
	uint32_t n_chunks;           /* 0 then */
	uint32_t n_parts;            /* TREE_SOURCE_RUN */
	const char *uri;             /* TREE_SOURCE_EXTERNAL */
	uint32_t uri_len;
};

/* Map @size bytes of @fd (which may be closed afterwards): a file that does not
 * change and keeps its length, see engine/tree_copy.h. */
int tree_open_fd(int fd, uint64_t size, struct tree **ret, struct error **errp);
/* Over memory that outlives the tree; 8-byte aligned. */
int tree_open_mem(const void *p, size_t n, struct tree **ret,
		  struct error **errp);
void tree_close(struct tree *t);
static inline void tree_closep(struct tree **t)
{
	if (*t)
		tree_close(*t);
	*t = 0;
}
#define cleanup_tree __attribute__((cleanup(tree_closep)))

/* Right after opening: nodes must name one of the first @n layers, or they are
 * refused. Without it any number passes, as a tree does not know its role. */
void tree_limit_layers(struct tree *t, uint32_t n);

uint32_t tree_nodes(const struct tree *t);
/* Source *records*, parts included: valid source indices are below this, and
 * tree_next_source() steps over parts. */
uint32_t tree_source_records(const struct tree *t);
uint32_t tree_next_source(const struct tree *t, uint32_t i);

/* Node @i, with every rule that concerns it checked. */
int tree_node(const struct tree *t, uint32_t i, struct tree_node *ret,
	      struct error **errp);
/* Source @i; -EBADMSG when @i is a part or out of range. */
int tree_source(const struct tree *t, uint32_t i, struct tree_source *ret,
		struct error **errp);
/* Part @k of the run at source index @i. */
int tree_source_part(const struct tree *t, uint32_t i, uint32_t k,
		     struct digest *ret, uint64_t *ret_size,
		     struct error **errp);

/* Child of directory @dir by name: 0, -ENOENT, -ENOTDIR or -EBADMSG. */
int tree_lookup(const struct tree *t, uint32_t dir, const char *name,
		size_t len, uint32_t *ret, struct error **errp);
/* Node of a relative path; "" and "." are the root. No symlink is followed. */
int tree_find(const struct tree *t, const char *path, uint32_t *ret,
	      struct error **errp);
/* The path of node @i, appended to @out. */
int tree_path(const struct tree *t, uint32_t i, struct strbuf *out,
	      struct error **errp);

/* Visit every node below @i depth-first in byte order of names, directories
 * before their children, @i itself not. @path is relative to the tree's root.
 * A non-zero result of fn ends the walk and is returned. */
int tree_walk(const struct tree *t, uint32_t i,
	      int (*fn)(void *ctx, uint32_t node, const struct tree_node *n,
			const char *path, struct error **errp),
	      void *ctx, struct error **errp);

/* Every rule, canonical form included: one tree, one encoding. */
int tree_validate(const struct tree *t, struct error **errp);

#endif
