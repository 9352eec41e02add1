#include <assert.h>
#include <errno.h>

#include "engine/compose_internal.h"
#include "storage/registry.h"

/*
 * Descriptors, in the order of the format; each digest once, titled by its
 * first path.
 */

static struct composed_blob *add_blob(struct composer *c,
				      const struct digest *d, uint64_t size,
				      const char *media_type, const char *title)
{
	struct composed *out = c->out;
	struct composed_blob *b;

	if (map_put(&c->blob_by_digest, d, DIGEST_SIZE, (void *)1))
		return NULL;
	ARRAY_GROW(out->blobs, out->n_blobs, c->cap_blobs);
	b = &out->blobs[out->n_blobs++];
	*b = (struct composed_blob){
		.desc = {.media_type = xstrdup(media_type),
			 .digest = *d,
			 .size = size},
	};
	if (title)
		descriptor_annotate(&b->desc, ANNOTATION_TITLE, title);
	return b;
}

static void add_tree(struct composer *c, const struct tree_ref *t,
		     const char *prefix, const char *name)
{
	cleanup_free char *title = xasprintf(".mops/tree/%s%s", prefix, name);
	struct composed_blob *b =
		add_blob(c, &t->digest, t->size, MEDIA_TYPE_TREE, title);

	if (!b)
		return;
	for (size_t i = 0; i < c->out->n_trees && !b->mem; i++)
		if (digest_equal(&c->out->trees[i].digest, &t->digest))
			b->mem = c->out->trees[i].mem;
	assert(b->mem);
}

static void add_packs(struct composer *c)
{
	for (size_t i = 0; i < c->plan->n_packs; i++) {
		const struct plan_pack *p = &c->plan->packs[i];
		cleanup_free char *title =
			xasprintf(".mops/packs/%s-%04u.tar",
				  c->bf->layers[p->layer].name, p->number);
		struct composed_blob *b = add_blob(c, &c->packed[i].digest,
						   pack_size(c->out->packs[i]),
						   MEDIA_TYPE_PACK, title);

		if (b)
			b->pack = c->out->packs[i];
	}
}

static void add_parts(struct composer *c, const struct inv_entry *e)
{
	const struct run *run = compose_run(c, e);
	struct digest_hex hex = digest_to_hex(&e->digest);
	uint64_t off = 0;

	for (uint32_t k = 0; k < run->n; off += run->parts[k++].size) {
		cleanup_free char *title =
			xasprintf(".mops/parts/%s-%04u", hex.str, k);
		struct composed_blob *b =
			add_blob(c, &run->parts[k].digest, run->parts[k].size,
				 MEDIA_TYPE_FILE, title);

		if (!b)
			continue;
		b->file = e;
		b->file_off = off;
	}
}

static void add_files(struct composer *c)
{
	for (size_t i = 0; i < c->plan->n; i++) {
		const struct inv_entry *e = c->plan->entries[i].inv;
		struct composed_blob *b;

		if (c->plan->entries[i].place != PLACE_BLOB)
			continue;
		if (e->size > c->part_size) {
			add_parts(c, e);
			continue;
		}
		b = add_blob(c, &e->digest, e->size, MEDIA_TYPE_FILE, e->path);
		if (!b)
			continue;
		descriptor_annotate(&b->desc, ANNOTATION_FILEPATH, e->path);
		b->file = e;
	}
}

static int check_budget(const struct composer *c, size_t n_trees,
			struct error **errp)
{
	if (n_trees > MAX_TREES)
		return error_hint(
			errp,
			error_set(errp, EINVAL,
				  "the bundle's layers and roles need %zu "
				  "trees; the format holds %d",
				  n_trees, MAX_TREES),
			"use fewer layers or roles");
	if (c->out->n_blobs > MAX_LAYER_DESCRIPTORS && !c->o->no_budget)
		return error_hint(
			errp,
			error_set(errp, EINVAL,
				  "the bundle needs %zu blobs; the format "
				  "holds %d",
				  c->out->n_blobs, MAX_LAYER_DESCRIPTORS),
			"move big data out of it with external_storage");
	return 0;
}

int compose_blobs(struct composer *c, struct error **errp)
{
	size_t n_trees;

	for (size_t i = 0; i < c->root.n_layers; i++)
		add_tree(c, &c->root.layers[i].tree, "",
			 c->root.layers[i].name);
	for (size_t i = 0; i < c->root.n_roles; i++)
		if (c->root.roles[i].n_layers > 1)
			add_tree(c, &c->root.roles[i].tree, "+",
				 c->root.roles[i].name);
	n_trees = c->out->n_blobs;
	add_packs(c);
	add_files(c);
	return check_budget(c, n_trees, errp);
}

/*
 * Root and manifest.
 */

int compose_manifest(struct composer *c, struct error **errp)
{
	struct composed *out = c->out;
	struct manifest m = {.n_layers = out->n_blobs};
	struct composed_blob *b;

	root_write(&c->root, &out->root);
	c->root_digest = digest_of_buf(out->root.buf, out->root.len);

	m.config = (struct descriptor){
		.media_type = (char *)MEDIA_TYPE_ROOT,
		.digest = c->root_digest,
		.size = out->root.len,
		.data = out->root.len <= ROOT_INLINE_MAX ? out->root.buf : NULL,
	};
	m.layers = xcalloc(out->n_blobs ? out->n_blobs : 1, sizeof(*m.layers));
	for (size_t i = 0; i < out->n_blobs; i++)
		m.layers[i] = out->blobs[i].desc;
	manifest_write(&m, &out->manifest);
	free(m.layers); /* the descriptors belong to the blobs */
	out->digest = digest_of_buf(out->manifest.buf, out->manifest.len);

	if (out->manifest.len > MANIFEST_PUSH_MAX)
		return error_set(errp, EINVAL,
				 "the manifest would be %zu bytes; registries "
				 "take %d",
				 out->manifest.len, MANIFEST_PUSH_MAX);
	b = add_blob(c, &c->root_digest, out->root.len, MEDIA_TYPE_ROOT, NULL);
	if (b)
		b->mem = out->root.buf;
	return 0;
}
