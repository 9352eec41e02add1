/*
 * Makes trees: of a layer, and the merged tree of a role.
 *
 * Entries may be added in any order; parents are made as needed. The output is
 * canonical: it depends on the set of entries alone.
 *
 * Threads: one.
 */
#ifndef ENGINE_TREE_BUILDER_H
#define ENGINE_TREE_BUILDER_H

#include "engine/tree.h"

struct tree_builder;

struct tree_part {
	struct digest digest;
	uint64_t size;
};

/* What a source is made of; copied. */
struct tree_source_spec {
	enum tree_source_kind kind;
	enum tree_tier tier;
	struct digest digest;
	uint64_t size;
	const struct digest *chunks; /* required when size > CHUNK_SIZE */
	uint32_t n_chunks;
	const struct tree_part *parts; /* TREE_SOURCE_RUN */
	uint32_t n_parts;
	const char *uri; /* TREE_SOURCE_EXTERNAL, normal form */
};

struct tree_file {
	bool executable;
	uint64_t size;
	struct digest digest;
	/* From tree_builder_source(); TREE_NONE for an empty file. */
	uint32_t source;
	uint64_t offset;
	uint16_t layer;
};

struct tree_builder *tree_builder_new(void);
void tree_builder_free(struct tree_builder *b);
static inline void tree_builder_freep(struct tree_builder **b)
{
	if (*b)
		tree_builder_free(*b);
	*b = 0;
}
#define cleanup_tree_builder __attribute__((cleanup(tree_builder_freep)))

/* A handle for tree_file.source; equal specs give equal handles. Order of
 * calls does not matter: the output's order is that of first use. */
uint32_t tree_builder_source(struct tree_builder *b,
			     const struct tree_source_spec *s);

/* -EINVAL: a name that breaks the rules; -EEXIST: the path is there already
 * (an implicit or explicit directory twice is fine); -ENOTDIR: a file is in the
 * way. */
int tree_builder_add_dir(struct tree_builder *b, const char *path,
			 uint16_t layer, struct error **errp);
int tree_builder_add_file(struct tree_builder *b, const char *path,
			  const struct tree_file *f, struct error **errp);
int tree_builder_add_symlink(struct tree_builder *b, const char *path,
			     const char *target, uint16_t layer,
			     struct error **errp);

/* The encoded tree; *@ret is malloc()ed. */
int tree_builder_finish(struct tree_builder *b, void **ret, size_t *ret_len,
			struct error **errp);

/*
 * The union of layers' trees, in the root's layer order. The same path twice
 * with the same content, kind and executable bit is one entry, taken from the
 * first layer that has it; anything else is ERROR_ROLE, with path and both
 * layers' names in the message.
 */
int tree_merge(struct tree *const *layers, const char *const *names, size_t n,
	       void **ret, size_t *ret_len, struct error **errp);

/* The same, with a layer added at a time, which need not stay open. @names
 * outlive it. After an error it can only be freed. */
struct tree_merger *tree_merger_new(const char *const *names);
void tree_merger_free(struct tree_merger *m);
int tree_merger_add(struct tree_merger *m, const struct tree *layer,
		    struct error **errp);
int tree_merger_finish(struct tree_merger *m, void **ret, size_t *ret_len,
		       struct error **errp);

static inline void tree_merger_freep(struct tree_merger **m)
{
	tree_merger_free(*m);
}
#define cleanup_tree_merger __attribute__((cleanup(tree_merger_freep)))

#endif
