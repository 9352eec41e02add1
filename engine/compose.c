#include "engine/compose.h"

#include <assert.h>
#include <errno.h>

#include "base/map.h"
#include "cache/content.h"
#include "engine/tree_builder.h"
#include "storage/registry.h"

/* What the steps of one composition share. */
struct composer {
	const struct inventory *inv;
	const struct bundle_file *bf;
	const struct plan *plan;
	const struct compose_options *o;
	struct composed *out;
	uint64_t part_size;

	struct packed {
		struct digest digest;
		struct digest *chunks;
		uint32_t n_chunks;
	} * packed; /* as plan->packs */

	/* Distinct contents that are files too big for one blob. */
	struct run {
		const struct inv_entry *inv;
		struct tree_part *parts;
		uint32_t n;
	} * runs;
	size_t n_runs;
	struct map run_by_digest;

	struct map blob_by_digest; /* those in out->blobs */
	size_t cap_blobs;
	struct map external_by_uri;
	struct root root;
	struct digest root_digest;
};

static void composer_release(struct composer *c)
{
	size_t i;

	for (i = 0; c->packed && i < c->plan->n_packs; i++)
		free(c->packed[i].chunks);
	free(c->packed);
	for (i = 0; i < c->n_runs; i++)
		free(c->runs[i].parts);
	free(c->runs);
	map_release(&c->run_by_digest);
	map_release(&c->blob_by_digest);
	map_release(&c->external_by_uri);
	root_release(&c->root);
}
#define cleanup_composer __attribute__((cleanup(composer_release)))

/*
 * Packs and parts: the only steps that read files.
 */

/* Packs outlive the composer, the inventory outlives the packs. */
static int open_item(void *ctx, const struct pack_item *it, struct error **errp)
{
	return inventory_open(ctx, it->user, errp);
}

static int hash_pack(void *ctx, size_t i, struct error **errp)
{
	struct composer *c = ctx;
	struct packed *p = &c->packed[i];
	int r = pack_hash(c->out->packs[i], &p->digest, &p->chunks,
			  &p->n_chunks, errp);

	if (r == 0)
		progress_add(c->o->progress, 0, pack_size(c->out->packs[i]));
	return r;
}

static int make_packs(struct composer *c, struct error **errp)
{
	const struct plan *plan = c->plan;
	struct composed *out = c->out;

	c->packed =
		xcalloc(plan->n_packs ? plan->n_packs : 1, sizeof(*c->packed));
	out->packs =
		xcalloc(plan->n_packs ? plan->n_packs : 1, sizeof(*out->packs));
	for (size_t i = 0; i < plan->n_packs; i++)
		out->packs[i] = pack_new(plan->packs[i].items, plan->packs[i].n,
					 open_item, (void *)out->inv);
	out->n_packs = plan->n_packs;
	return pool_for_each(c->o->pool, plan->n_packs, hash_pack, c, errp);
}

static int hash_run(void *ctx, size_t i, struct error **errp)
{
	struct composer *c = ctx;
	struct run *run = &c->runs[i];
	cleanup_fd int fd = inventory_open(c->inv, run->inv, errp);
	uint64_t off = 0;

	if (fd < 0)
		return fd;
	for (uint32_t k = 0; k < run->n; k++) {
		struct tree_part *p = &run->parts[k];
		int r;

		p->size = MIN(c->part_size, run->inv->size - off);
		r = digest_of_fd(fd, off, p->size, &p->digest, errp);
		if (r < 0)
			return error_prefix(errp, r, "reading '%s'",
					    run->inv->path);
		progress_add(c->o->progress, 0, p->size);
		off += p->size;
	}
	return 0;
}

static int make_runs(struct composer *c, struct error **errp)
{
	size_t cap = 0;

	for (size_t i = 0; i < c->plan->n; i++) {
		const struct plan_entry *e = &c->plan->entries[i];
		struct run *run;

		if (e->place != PLACE_BLOB || e->inv->size <= c->part_size ||
		    map_get(&c->run_by_digest, &e->inv->digest, DIGEST_SIZE))
			continue;
		ARRAY_GROW(c->runs, c->n_runs, cap);
		run = &c->runs[c->n_runs++];
		run->inv = e->inv;
		run->n = (uint32_t)((e->inv->size - 1) / c->part_size + 1);
		run->parts = xcalloc(run->n, sizeof(*run->parts));
		map_put(&c->run_by_digest, &e->inv->digest, DIGEST_SIZE,
			(void *)(uintptr_t)c->n_runs);
	}
	return pool_for_each(c->o->pool, c->n_runs, hash_run, c, errp);
}

static const struct run *run_of(const struct composer *c,
				const struct inv_entry *e)
{
	size_t at =
		(uintptr_t)map_get(&c->run_by_digest, &e->digest, DIGEST_SIZE);

	assert(at > 0);
	return &c->runs[at - 1];
}

/*
 * Trees.
 */

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
			const struct run *run = run_of(c, inv);

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

static int make_trees(struct composer *c, struct error **errp)
{
	size_t n_layers = c->bf->n_layers, n_roles = c->bf->n_roles;
	cleanup_free struct tree **layers = xcalloc(n_layers, sizeof(*layers));
	int r = 0;

	c->root.plan_version = PLAN_VERSION;
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
	const struct run *run = run_of(c, e);
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

static int make_blobs(struct composer *c, struct error **errp)
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

static void collect_externals(struct composer *c)
{
	size_t cap = 0;

	for (size_t i = 0; i < c->plan->n; i++) {
		const struct plan_entry *e = &c->plan->entries[i];

		if (e->place != PLACE_EXTERNAL || e->registered ||
		    map_put_str(&c->external_by_uri, e->uri, (void *)1))
			continue;
		ARRAY_GROW(c->out->externals, c->out->n_externals, cap);
		c->out->externals[c->out->n_externals++] = e;
	}
}

/*
 * Root and manifest.
 */

static int make_manifest(struct composer *c, struct error **errp)
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

static int compose_steps(struct composer *c, struct error **errp)
{
	int r = make_packs(c, errp);

	if (r == 0)
		r = make_runs(c, errp);
	if (r == 0)
		r = make_trees(c, errp);
	if (r == 0)
		r = make_blobs(c, errp);
	if (r < 0)
		return r;
	collect_externals(c);
	return make_manifest(c, errp);
}

int compose(const struct inventory *inv, const struct bundle_file *bf,
	    const struct plan *plan, const struct compose_options *o,
	    struct composed *ret, struct error **errp)
{
	cleanup_composed struct composed out = {.inv = inv};
	cleanup_composer struct composer c = {
		.inv = inv,
		.bf = bf,
		.plan = plan,
		.o = o,
		.out = &out,
		.part_size = o->part_size ? o->part_size : PART_SIZE,
	};
	int r = compose_steps(&c, errp);

	if (r < 0)
		return r;
	*ret = out;
	out = (struct composed){0};
	return 0;
}

void composed_release(struct composed *c)
{
	for (size_t i = 0; i < c->n_blobs; i++)
		descriptor_release(&c->blobs[i].desc);
	free(c->blobs);
	for (size_t i = 0; i < c->n_packs; i++)
		pack_free(c->packs[i]);
	free(c->packs);
	for (size_t i = 0; i < c->n_trees; i++)
		free(c->trees[i].mem);
	free(c->trees);
	free(c->externals);
	strbuf_release(&c->root);
	strbuf_release(&c->manifest);
	*c = (struct composed){0};
}
