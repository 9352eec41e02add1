#include <assert.h>
#include <errno.h>

#include "cache/content.h"
#include "engine/compose_internal.h"

/* The source of a file, and where the file lies in it. */
static void place_file(struct composer *c, struct tree_builder *b,
		       const struct plan_entry *e, struct tree_file *f)
{
	const struct inv_entry *inv = e->inv;
	struct tree_source_spec s = {
		.digest = inv->digest,
		.size = inv->size,
		.chunks = inv->chunks,
		.n_chunks = inv->n_chunks,
	};

	switch (e->place) {
	case PLACE_NONE:
		return;
	case PLACE_BLOB:
		s.kind = TREE_SOURCE_BLOB;
		if (inv->size > c->part_size) {
			const struct run *run = compose_run(c, inv);

			s.kind = TREE_SOURCE_RUN;
			s.parts = run->parts;
			s.n_parts = run->n;
		}
		break;
	case PLACE_EXTERNAL:
		s.kind = TREE_SOURCE_EXTERNAL;
		s.uri = e->uri;
		s.tier = e->tier;
		break;
	case PLACE_PACK: {
		const struct packed *p = &c->packed[e->pack];

		s.kind = TREE_SOURCE_PACK;
		s.digest = p->digest;
		s.size = pack_size(c->out->packs[e->pack]);
		s.chunks = p->chunks;
		s.n_chunks = p->n_chunks;
		f->offset = c->plan->packs[e->pack].items[e->pack_item].offset;
		break;
	}
	}
	f->source = tree_builder_source(b, &s);
}

static int add_entry(struct composer *c, struct tree_builder *b,
		     const struct plan_entry *e, struct error **errp)
{
	const struct inv_entry *inv = e->inv;
	struct tree_file f = {
		.executable = inv->executable,
		.size = inv->size,
		.digest = inv->digest,
		.source = TREE_NONE,
	};

	switch (inv->kind) {
	case TREE_DIR:
		return tree_builder_add_dir(b, inv->path, 0, errp);
	case TREE_SYMLINK:
		return tree_builder_add_symlink(b, inv->path, inv->target, 0,
						errp);
	case TREE_FILE:
		place_file(c, b, e, &f);
		return tree_builder_add_file(b, inv->path, &f, errp);
	}
	return error_set(errp, EINVAL, "'%s' is of no known kind", inv->path);
}

static void count_entry(struct root_layer *l, const struct plan_entry *e)
{
	uint64_t size = e->inv->size;

	if (e->inv->kind != TREE_FILE)
		return;
	l->files++;
	l->bytes += size;
	if (e->place == PLACE_BLOB)
		l->bytes_blob += size;
	else if (e->place == PLACE_PACK)
		l->bytes_pack += size;
	else if (e->place == PLACE_EXTERNAL)
		l->bytes_external += size;
}

static void tree_ref_of(const void *p, size_t n, struct tree_ref *ret)
{
	ret->digest = digest_of_buf(p, n);
	ret->size = n;
	ret->chunks = NULL;
	ret->n_chunks = 0;
	if (n <= CHUNK_SIZE)
		return;
	ret->n_chunks = chunk_count(n);
	ret->chunks = xcalloc(ret->n_chunks, sizeof(*ret->chunks));
	for (uint32_t i = 0; i < ret->n_chunks; i++)
		ret->chunks[i] =
			digest_of_buf((const char *)p + (size_t)i * CHUNK_SIZE,
				      chunk_len(n, i));
}

static void keep_tree(struct composed *out, void *take_mem, size_t n,
		      struct tree_ref *ret)
{
	tree_ref_of(take_mem, n, ret);
	out->trees[out->n_trees++] = (struct composed_tree){
		.mem = take_mem,
		.digest = ret->digest,
	};
}

static int make_layer(struct composer *c, uint32_t layer, struct tree **ret,
		      struct error **errp)
{
	cleanup_tree_builder struct tree_builder *b = tree_builder_new();
	struct root_layer *l = &c->root.layers[layer];
	struct composed *out = c->out;
	void *mem;
	size_t n;
	int r;

	l->name = xstrdup(c->bf->layers[layer].name);
	for (size_t i = 0; i < c->plan->n; i++) {
		const struct plan_entry *e = &c->plan->entries[i];

		if (e->inv->layer != layer)
			continue;
		r = add_entry(c, b, e, errp);
		if (r < 0)
			return error_prefix(errp, r, "layer '%s'", l->name);
		count_entry(l, e);
	}
	r = tree_builder_finish(b, &mem, &n, errp);
	if (r < 0)
		return error_prefix(errp, r, "layer '%s'", l->name);
	keep_tree(out, mem, n, &l->tree);
	out->files += l->files;
	out->bytes += l->bytes;
	return tree_open_mem(mem, n, ret, errp);
}

static uint32_t layer_index(const struct bundle_file *bf, const char *name)
{
	for (size_t i = 0; i < bf->n_layers; i++)
		if (!strcmp(bf->layers[i].name, name))
			return (uint32_t)i;
	assert(!"a role names a layer that its bundle file lacks");
	return 0;
}

static int cmp_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int make_role(struct composer *c, size_t i, struct tree *const *layers,
		     struct error **errp)
{
	const struct bf_role *from = &c->bf->roles[i];
	struct root_role *role = &c->root.roles[i];
	struct composed *out = c->out;
	cleanup_free struct tree **trees = NULL;
	cleanup_free const char **names = NULL;
	void *mem;
	size_t n;
	int r;

	role->name = xstrdup(from->name);
	role->n_layers = strv_len(from->layers);
	role->layers = xcalloc(role->n_layers, sizeof(*role->layers));
	trees = xcalloc(role->n_layers, sizeof(*trees));
	names = xcalloc(role->n_layers, sizeof(*names));
	for (size_t k = 0; k < role->n_layers; k++)
		role->layers[k] = layer_index(c->bf, from->layers[k]);
	qsort(role->layers, role->n_layers, sizeof(*role->layers), cmp_u32);

	if (role->n_layers == 1) {
		const struct tree_ref *t =
			&c->root.layers[role->layers[0]].tree;

		role->tree = *t;
		role->tree.chunks =
			t->chunks ? xmemdup(t->chunks,
					    t->n_chunks * sizeof(*t->chunks))
				  : NULL;
		return 0;
	}
	for (size_t k = 0; k < role->n_layers; k++) {
		trees[k] = layers[role->layers[k]];
		names[k] = c->root.layers[role->layers[k]].name;
	}
	r = tree_merge(trees, names, role->n_layers, &mem, &n, errp);
	if (r < 0)
		return error_prefix(errp, r, "role '%s'", role->name);
	keep_tree(out, mem, n, &role->tree);
	return 0;
}

int compose_trees(struct composer *c, struct error **errp)
{
	size_t n_layers = c->bf->n_layers, n_roles = c->bf->n_roles;
	cleanup_free struct tree **layers = xcalloc(n_layers, sizeof(*layers));
	int r = 0;

	c->root.plan_version = c->plan->rules->version;
	c->root.layers = xcalloc(n_layers, sizeof(*c->root.layers));
	c->root.roles = xcalloc(n_roles, sizeof(*c->root.roles));
	c->root.n_layers = n_layers;
	c->root.n_roles = n_roles;
	c->out->trees = xcalloc(n_layers + n_roles, sizeof(*c->out->trees));

	for (size_t i = 0; r == 0 && i < n_layers; i++)
		r = make_layer(c, (uint32_t)i, &layers[i], errp);
	for (size_t i = 0; r == 0 && i < n_roles; i++)
		r = make_role(c, i, layers, errp);
	for (size_t i = 0; i < n_layers; i++)
		if (layers[i])
			tree_close(layers[i]);
	c->root.files = c->out->files;
	c->root.bytes = c->out->bytes;
	return r;
}
