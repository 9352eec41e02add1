/* The scan, and from a finding to the bundles and files that need it. */
#include "engine/verify_cache.h"

#include <errno.h>
#include <string.h>

#include "cache/gc.h"
#include "engine/tag_guard.h"
#include "engine/verify_cache_internal.h"
#include "engine/tree_copy.h"

/*
 * Items.
 */

struct collecting {
	const struct verify_cache_options *o;
	struct verify_cache_result *out;
};

static void collect(void *ctx, const struct cache_finding *f)
{
	struct collecting *c = ctx;
	struct verify_cache_result *k = c->out;

	if (k->n < CHECK_ITEMS_MAX) {
		ARRAY_GROW(k->items, k->n, k->cap);
		k->items[k->n++] = (struct check_item){.finding = *f};
	}
	if (c->o->found)
		c->o->found(c->o->ctx, f);
}

static void collect_unchecked(void *ctx, const struct cache_finding *f)
{
	struct collecting *c = ctx;
	struct verify_cache_result *k = c->out;

	if (k->n_unchecked < CHECK_ITEMS_MAX) {
		ARRAY_GROW(k->unchecked, k->n_unchecked, k->cap_unchecked);
		k->unchecked[k->n_unchecked++] = *f;
	}
	if (c->o->unchecked)
		c->o->unchecked(c->o->ctx, f);
}

static int scan(struct session *s, struct cache *c,
		const struct verify_cache_options *o,
		struct verify_cache_result *ret, const struct op *op,
		struct error **errp)
{
	struct collecting ctx = {o, ret};
	const struct cache_verify_options v = {
		.limit_rate = session_settings(s)->limit_rate,
		.restart = o->restart,
		.for_repair = o->repair,
		.progress = o->show_progress ? progress_new("verifying", true)
					     : NULL,
		.found = collect,
		.unchecked = collect_unchecked,
		.ctx = &ctx,
		.op = op,
	};
	int r = cache_verify(c, &v, &ret->report, errp);

	progress_free(v.progress);
	return r;
}

static void release_use(struct check_use *u)
{
	free(u->reference);
	free(u->what);
	strv_free(u->paths);
}

void verify_cache_release(struct verify_cache_result *k)
{
	for (size_t i = 0; i < k->n; i++) {
		for (size_t j = 0; j < k->items[i].n; j++)
			release_use(&k->items[i].uses[j]);
		free(k->items[i].uses);
		free(k->items[i].why);
	}
	free(k->items);
	free(k->unchecked);
	*k = (struct verify_cache_result){0};
}

struct check_item *check_items(const struct checking *k, const struct digest *d)
{
	return map_get(&k->by_digest, d->b, DIGEST_SIZE);
}

static void index_items(struct checking *k)
{
	for (size_t i = 0; i < k->out->n; i++) {
		struct check_item *it = &k->out->items[i];
		const struct digest *d = &it->finding.digest;

		it->same = map_put(&k->by_digest, d->b, DIGEST_SIZE, it);
	}
}

/*
 * Where bundles came from.
 */

static int note_reference(void *ctx, const char *key, const struct digest *d)
{
	struct checking *k = ctx;
	char *old = map_get(&k->references, d->b, DIGEST_SIZE);

	if (!strncmp(key, TAG_GUARD_KEY, strlen(TAG_GUARD_KEY)))
		return 0; /* it may never have got there */
	/* The same each time; and for people a tag says more. */
	if (old && (strchr(key, '@') || strcmp(old, key) <= 0) &&
	    !(strchr(old, '@') && !strchr(key, '@')))
		return 0;
	free(map_put(&k->references, d->b, DIGEST_SIZE, xstrdup(key)));
	return 0;
}

static void free_references(struct checking *k)
{
	size_t pos = 0;
	void *v;

	while (map_next(&k->references, &pos, NULL, NULL, &v))
		free(v);
	map_release(&k->references);
}

/*
 * Uses.
 */

static struct check_use *use_of(struct checking *k, struct check_item *it)
{
	for (size_t i = 0; i < it->n; i++)
		if (digest_equal(&it->uses[i].bundle, &k->bundle))
			return &it->uses[i];
	ARRAY_GROW(it->uses, it->n, it->cap);
	it->uses[it->n] = (struct check_use){
		.bundle = k->bundle,
		.reference = k->reference ? xstrdup(k->reference) : NULL,
	};
	return &it->uses[it->n++];
}

static void use_as(struct checking *k, const struct digest *d, uint64_t size,
		   const char *what, const char *name)
{
	for (struct check_item *it = check_items(k, d); it; it = it->same) {
		struct check_use *u = use_of(k, it);

		it->want_size = size;
		if (!u->what)
			u->what = name ? xasprintf("%s '%s'", what, name)
				       : xstrdup(what);
	}
}

/* Without it nobody knows what else the bundle needs. */
static void use_as_index(struct checking *k, const struct digest *d,
			 uint64_t size, const char *what, const char *name)
{
	use_as(k, d, size, what, name);
	for (struct check_item *it = check_items(k, d); it; it = it->same)
		it->is_index = true;
}

/* The files of one tree that have bytes of what is damaged. */
struct finding_files {
	struct checking *k;
	struct check_item **by_source;
	const struct root_role *role; /* NULL: a layer's tree */
	const char *layer;            /* its name */
};

static bool touches(const struct check_item *it, const struct tree_node *n)
{
	uint64_t at = (uint64_t)it->finding.chunk * CHUNK_SIZE;

	return it->finding.kind != CACHE_DAMAGED_CHUNK ||
	       (n->offset < at + CHUNK_SIZE && at < n->offset + n->size);
}

static void add_file(struct finding_files *ff, struct check_item *it,
		     const struct tree_node *n, const char *path)
{
	struct check_use *u = use_of(ff->k, it);
	const struct root *root = ff->k->root;
	const char *layer =
		ff->role ? root->layers[ff->role->layers[n->layer]].name
			 : ff->layer;

	if (u->full)
		return;
	if (!u->what)
		u->what = xasprintf("layer '%s'", layer);
	if (u->files++ < CHECK_PATHS_MAX)
		strv_append(&u->paths, xstrdup(path));
}

static int look_at_file(void *ctx, uint32_t node, const struct tree_node *n,
			const char *path, struct error **errp)
{
	struct finding_files *ff = ctx;
	struct check_item *it;

	(void)node;
	(void)errp;
	if (n->kind != TREE_FILE || n->source == TREE_NONE)
		return 0;
	for (it = ff->by_source[n->source]; it; it = it->same)
		if (touches(it, n))
			add_file(ff, it, n, path);
	return 0;
}

/* How many sources of @t are damaged; those are marked. */
static size_t mark_sources(struct checking *k, const struct tree *t,
			   struct check_item **by_source)
{
	uint32_t n = tree_source_records(t);
	size_t damaged = 0;

	for (uint32_t i = 0; i < n; i = tree_next_source(t, i)) {
		struct tree_source src;

		if (tree_source(t, i, &src, NULL) < 0)
			break; /* a bundle at fault: not ours to judge here */
		by_source[i] = check_items(k, &src.digest);
		damaged += by_source[i] != NULL;
		for (struct check_item *it = by_source[i]; it; it = it->same)
			it->want_size = src.size;
	}
	return damaged;
}

static void mark_full(struct checking *k, struct check_item *const *by_source,
		      uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		for (struct check_item *it = by_source[i]; it; it = it->same)
			use_of(k, it)->full = true;
}

static int look_at_tree(struct checking *k, const struct tree *t,
			const struct root_role *role, const char *layer,
			struct error **errp)
{
	uint32_t n = tree_source_records(t);
	cleanup_free struct check_item **by_source =
		try_realloc(NULL, (size_t)n + 1, sizeof(*by_source));
	struct finding_files ff = {k, by_source, role, layer};

	if (!by_source)
		return error_set_errno(errp, ENOMEM, "a tree's sources");
	memset(by_source, 0, ((size_t)n + 1) * sizeof(*by_source));
	if (!mark_sources(k, t, by_source))
		return 0;
	(void)tree_walk(t, TREE_ROOT, look_at_file, &ff, NULL);
	mark_full(k, by_source, n);
	return k->repair ? check_repair_sources(k, t, by_source, errp) : 0;
}

/* -ENOENT: not in the cache. */
static int cached_tree(struct checking *k, const struct tree_ref *ref,
		       size_t layers, struct tree **ret)
{
	cleanup_fd int fd =
		cache_blob_open(k->c, &ref->digest, ref->size, NULL);
	cleanup_fd int copy = -1;
	int r = fd;

	if (fd >= 0)
		r = tree_copy_file(k->c, fd, &ref->digest, ref->size, &copy,
				   NULL);
	if (r >= 0)
		r = tree_open_fd(copy, ref->size, ret, NULL);
	if (r >= 0)
		tree_limit_layers(*ret, (uint32_t)layers);
	k->unknown |= r < 0 && r != -ENOENT;
	return r;
}

static int look_at_role(struct checking *k, const struct root_role *role,
			struct error **errp)
{
	cleanup_tree struct tree *t = NULL;

	use_as_index(k, &role->tree.digest, role->tree.size, "tree of role",
		     role->name);
	if (k->repair)
		check_repair_role(k, role);
	if (cached_tree(k, &role->tree, role->n_layers, &t) < 0)
		return 0;
	return look_at_tree(k, t, role, NULL, errp);
}

static int look_at_layer(struct checking *k, size_t i, struct error **errp)
{
	const struct root_layer *l = &k->root->layers[i];
	cleanup_tree struct tree *t = NULL;

	use_as_index(k, &l->tree.digest, l->tree.size, "tree of layer",
		     l->name);
	if (k->repair)
		check_repair_layer(k, i);
	if (cached_tree(k, &l->tree, 1, &t) < 0)
		return 0;
	return look_at_tree(k, t, NULL, l->name, errp);
}

/* Without a tree a blob's title still says what it is. */
static void look_at_titles(struct checking *k, const struct manifest *m)
{
	for (size_t i = 0; i < m->n_layers; i++) {
		const struct descriptor *d = &m->layers[i];
		const char *title = descriptor_annotation(d, ANNOTATION_TITLE);

		use_as(k, &d->digest, d->size, title ? "blob" : "a blob",
		       title);
	}
}

static int look_inside(struct checking *k, struct error **errp)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < k->root->n_roles; i++)
		r = look_at_role(k, &k->root->roles[i], errp);
	for (size_t i = 0; r >= 0 && i < k->root->n_layers; i++)
		r = look_at_layer(k, i, errp);
	return r;
}

static int look_at_root(struct checking *k, const struct manifest *m,
			struct error **errp)
{
	cleanup_root struct root root = {0};
	int r;

	use_as_index(k, &m->config.digest, m->config.size, "root", NULL);
	if (k->repair)
		check_repair_document(k, &m->config.digest);
	if (bundle_cached_root(k->c, &m->config, &root, NULL) >= 0) {
		k->root = &root;
		r = look_inside(k, errp);
		k->root = NULL;
		if (r < 0)
			return r;
	}
	look_at_titles(k, m);
	return op_go_on(k->op, errp);
}

/* One whose manifest was collected has no more to say. */
static int look_at_bundle(struct checking *k, struct error **errp)
{
	cleanup_manifest struct manifest m = {0};
	int r;

	use_as_index(k, &k->bundle, 0, "manifest", NULL);
	if (k->repair)
		check_repair_document(k, &k->bundle);
	r = bundle_cached_manifest(k->c, &k->bundle, &m, NULL);
	r = r < 0 ? op_go_on(k->op, errp) : look_at_root(k, &m, errp);
	check_close(k);
	return r;
}

static int add_bundle(void *ctx, const struct cache_bundle *b)
{
	struct checking *k = ctx;

	ARRAY_GROW(k->bundles, k->n_bundles, k->cap_bundles);
	k->bundles[k->n_bundles++] = b->manifest;
	return 0;
}

static int look_at_bundles(struct checking *k, struct error **errp)
{
	int r = cache_bundle_each(k->c, add_bundle, k, errp);

	if (r >= 0)
		r = cache_ref_each(k->c, note_reference, k, errp);
	for (size_t i = 0; r >= 0 && i < k->n_bundles; i++) {
		k->bundle = k->bundles[i];
		k->reference =
			map_get(&k->references, k->bundle.b, DIGEST_SIZE);
		r = look_at_bundle(k, errp);
	}
	return r;
}

/* Could every bundle be looked into? */
static bool all_known(const struct checking *k)
{
	const struct verify_cache_result *out = k->out;

	if (k->unknown)
		return false;
	for (size_t i = 0; i < out->n; i++)
		if (out->items[i].is_index &&
		    out->items[i].state == CHECK_DAMAGED)
			return false;
	return true;
}

static void count_up(struct checking *k)
{
	struct verify_cache_result *out = k->out;
	bool known = all_known(k);

	for (size_t i = 0; i < out->n; i++) {
		struct check_item *it = &out->items[i];

		if (!it->n && known) {
			it->state = CHECK_UNUSED;
			if (k->repair)
				cache_verify_repaired(k->c, &it->finding);
		}
		out->unused += it->state == CHECK_UNUSED;
		out->repaired += it->state == CHECK_REPAIRED;
	}
	out->left = out->report.damaged - out->unused - out->repaired;
}

int verify_cache(struct session *s, const struct verify_cache_options *o,
		 struct verify_cache_result *ret, const struct op *op,
		 struct error **errp)
{
	struct checking k = {
		.session = s, .repair = o->repair, .out = ret, .op = op};
	int r = session_cache(s, &k.c, errp);

	*ret = (struct verify_cache_result){0};
	if (r >= 0)
		r = scan(s, k.c, o, ret, op, errp);
	if (r < 0 || !ret->n)
		return r;
	index_items(&k);
	r = look_at_bundles(&k, errp);
	k.unknown |= r < 0;
	count_up(&k);
	map_release(&k.by_digest);
	free_references(&k);
	free(k.bundles);
	return r;
}
