/* Externals: what their stores say, or all of their bytes. */
#include <errno.h>
#include <inttypes.h>

#include "engine/verify_internal.h"

/* Sources of externals, each URI once in all layers. They live in the tree. */
struct external {
	struct tree_source src;
	uint32_t index;
};

struct externals {
	const struct tree *tree;
	struct external *v;
	size_t n, cap;
};

/* By digest: in a tree that was not validated long URIs may overlap. */
static bool is_new(struct verify *v, const struct tree_source *src)
{
	struct digest d = digest_of_buf(src->uri, src->uri_len);

	return !map_put(&v->uris, d.b, DIGEST_SIZE, v);
}

static void collect(struct verify *v, struct externals *e)
{
	uint32_t records = tree_source_records(e->tree);

	for (uint32_t i = 0; i < records; i = tree_next_source(e->tree, i)) {
		struct tree_source src;

		if (tree_source(e->tree, i, &src, NULL) < 0)
			return; /* there is a finding about the layer */
		if (src.kind != TREE_SOURCE_EXTERNAL || !is_new(v, &src))
			continue;
		ARRAY_GROW(e->v, e->n, e->cap);
		e->v[e->n++] = (struct external){src, i};
	}
}

struct job {
	struct verify *v;
	const struct externals *e;
};

static int hash_object(struct verify *v, struct object_store *store,
		       const struct pointer_uri *uri,
		       const struct tree_source *src,
		       const struct object_info *info, struct digest *ret,
		       struct error **errp)
{
	struct verify_sink s;
	int r = 0;

	verify_sink_init(&s, v->progress);
	if (src->size)
		r = store->ops->read(store, uri, info->validator, 0, src->size,
				     &s.sink, v->op, errp);
	*ret = verify_sink_final(&s);
	return r;
}

/* What the finding that nothing is wrong rests on. */
static void count(struct verify *v, const struct object_info *info)
{
	struct verify_result *out = v->out;

	mutex_lock(&v->lock);
	if (v->deep)
		out->externals_hashed++;
	else if (info->sha256_from == OBJECT_SHA256_CHECKSUM)
		out->externals_by_checksum++;
	else if (info->sha256_from == OBJECT_SHA256_METADATA)
		out->externals_by_metadata++;
	else
		out->externals_by_size++;
	mutex_unlock(&v->lock);
}

/* 0 right; 1 other bytes: *@ret is their digest. */
static int look(struct verify *v, const struct tree_source *src,
		struct digest *ret, struct error **errp)
{
	cleanup_pointer_uri struct pointer_uri uri = {0};
	struct object_info info = {0};
	struct object_store *store;
	int r = pointer_uri_parse(src->uri, src->uri_len, &uri, errp);

	if (r < 0)
		return r;
	store = object_stores_for(v->b->remote.stores, &uri, errp);
	if (!store)
		return -EPROTONOSUPPORT;
	r = store->ops->stat(store, &uri, &info, v->op, errp);
	if (r < 0)
		return r;
	if (info.size != src->size)
		return error_set(errp, EBADMSG,
				 "has %" PRIu64 " bytes, not %" PRIu64,
				 info.size, src->size);
	*ret = info.has_sha256 ? info.sha256 : src->digest;
	if (digest_equal(ret, &src->digest) && v->deep)
		r = hash_object(v, store, &uri, src, &info, ret, errp);
	if (r < 0)
		return r;
	if (!digest_equal(ret, &src->digest))
		return 1;
	count(v, &info);
	return 0;
}

struct first_user {
	uint32_t source;
	char *path;
};

static int uses_source(void *ctx, uint32_t node, const struct tree_node *n,
		       const char *path, struct error **errp)
{
	struct first_user *u = ctx;

	(void)node;
	(void)errp;
	if (n->kind != TREE_FILE || n->source != u->source)
		return 0;
	u->path = xstrdup(path);
	return 1;
}

static void not_right(const struct job *j, const struct external *e, int r,
		      const struct error *err, const struct digest *got)
{
	struct verify *v = j->v;
	struct first_user u = {.source = e->index};
	cleanup_free char *what = NULL;
	struct verify_about about = {.digest = &e->src.digest};

	(void)tree_walk(j->e->tree, TREE_ROOT, uses_source, &u, NULL);
	about.path = u.path;
	what = xasprintf("external '%.*s' ('%s')", (int)e->src.uri_len,
			 e->src.uri, u.path ? u.path : "?");
	if (r < 0) {
		verify_failed(v, &about, r, err, what);
	} else {
		about.found = got;
		verify_differs(v, &about, what);
	}
	free(u.path);
}

static int check_one(void *ctx, size_t i, struct error **errp)
{
	const struct job *j = ctx;
	const struct external *e = &j->e->v[i];
	cleanup_error struct error *err = NULL;
	struct digest got;
	int r;

	r = op_go_on(j->v->op, errp);
	if (r < 0)
		return r;
	r = look(j->v, &e->src, &got, &err);
	if (r != 0)
		not_right(j, e, r, err, &got);
	return 0;
}

int verify_externals(struct verify *v, const struct tree *t,
		     struct error **errp)
{
	struct externals e = {.tree = t};
	struct job j = {v, &e};
	int r = 0;

	collect(v, &e);
	v->out->externals += e.n;
	if (v->b->remote.stores)
		r = pool_for_each(v->pool, e.n, check_one, &j, errp);
	free(e.v);
	return r;
}
