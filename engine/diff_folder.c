/* A folder as a tree, so that it is compared like one. */
#include <errno.h>

#include "engine/diff.h"
#include "engine/tree_builder.h"

static int add_file(struct tree_builder *b, const struct inv_entry *e,
		    struct error **errp)
{
	const struct tree_source_spec s = {
		.kind = TREE_SOURCE_BLOB,
		.digest = e->digest,
		.size = e->size,
		.chunks = e->chunks,
		.n_chunks = e->n_chunks,
	};
	const struct tree_file f = {
		.executable = e->executable,
		.size = e->size,
		.digest = e->digest,
		.source = e->size ? tree_builder_source(b, &s) : TREE_NONE,
		.layer = (uint16_t)e->layer,
	};

	return tree_builder_add_file(b, e->path, &f, errp);
}

static int add_entry(struct tree_builder *b, const struct inv_entry *e,
		     struct error **errp)
{
	uint16_t layer = (uint16_t)e->layer;

	switch (e->kind) {
	case TREE_DIR:
		return tree_builder_add_dir(b, e->path, layer, errp);
	case TREE_SYMLINK:
		return tree_builder_add_symlink(b, e->path, e->target, layer,
						errp);
	case TREE_FILE:
		return add_file(b, e, errp);
	}
	return error_set(errp, EINVAL, "'%s' is of no known kind", e->path);
}

int inventory_tree(const struct inventory *inv, const bool *layers, void **ret,
		   size_t *ret_len, struct error **errp)
{
	cleanup_tree_builder struct tree_builder *b = tree_builder_new();

	for (size_t i = 0; i < inv->n; i++) {
		const struct inv_entry *e = &inv->entries[i];
		int r = 0;

		if (!layers || layers[e->layer])
			r = add_entry(b, e, errp);
		if (r < 0)
			return r;
	}
	return tree_builder_finish(b, ret, ret_len, errp);
}
