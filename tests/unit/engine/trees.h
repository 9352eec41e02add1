/*
 * Small trees for tests.
 */
#ifndef TESTS_UNIT_ENGINE_TREES_H
#define TESTS_UNIT_ENGINE_TREES_H

#include "engine/tree_builder.h"

/* An encoded tree and its reader. */
struct made_tree {
	void *buf;
	size_t len;
	struct tree *tree;
};

/* Finish @b and open the result; aborts when that fails. Frees @b. */
struct made_tree make_tree(struct tree_builder *b);
void made_tree_release(struct made_tree *m);
#define cleanup_made_tree __attribute__((cleanup(made_tree_release)))

/* A blob of its own, whose content is @path's bytes repeated. Chunk digests
 * are made up. */
void add_blob(struct tree_builder *b, const char *path, uint64_t size);
/* A file of @size bytes at @offset of the pack called @pack, of @pack_size. */
void add_packed(struct tree_builder *b, const char *path, const char *pack,
		uint64_t pack_size, uint64_t offset, uint64_t size);
void add_external(struct tree_builder *b, const char *path, const char *uri,
		  enum tree_tier tier, uint64_t size);
/* In parts of @part_size. */
void add_run(struct tree_builder *b, const char *path, uint64_t size,
	     uint64_t part_size);
void add_empty(struct tree_builder *b, const char *path);

/* A tree with one of everything. */
struct made_tree make_rich_tree(void);

#endif
