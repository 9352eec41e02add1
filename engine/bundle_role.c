/* A bundle's trees, and the sources that they name. */
#include <errno.h>
#include <inttypes.h>

#include "base/io.h"
#include "base/log.h"
#include "engine/bundle.h"
#include "engine/tree_copy.h"

static int listed(const struct bundle *b, const struct digest *d, uint64_t size,
		  struct error **errp)
{
	const struct descriptor *desc = manifest_blob(&b->manifest, d);

	if (!desc)
		return error_set(errp, EBADMSG,
				 "blob '%s' is not in the manifest",
				 digest_to_str(d).str);
	if (desc->size != size)
		return error_set(errp, EBADMSG,
				 "blob '%s' has %" PRIu64 " bytes in the "
				 "manifest, %" PRIu64 " elsewhere",
				 digest_to_str(d).str, desc->size, size);
	return 0;
}

static int tree_source_open(struct bundle *b, struct fetcher *f,
			    const struct tree_ref *t, struct fetch_source **ret,
			    struct error **errp)
{
	struct fetch_source_spec spec = {
		.remote = &b->remote,
		.kind = TREE_SOURCE_BLOB,
		.content = {t->digest, t->size, t->chunks},
	};
	int r = listed(b, &t->digest, t->size, errp);

	if (r >= 0 && t->size > CHUNK_SIZE &&
	    t->n_chunks != chunk_count(t->size))
		r = error_set(errp, EBADMSG, "tree '%s' has a wrong chunk list",
			      digest_to_str(&t->digest).str);
	return r < 0 ? r : fetch_source_open(f, &spec, ret, errp);
}

/* Through the fetcher, chunk by chunk: the cache cannot keep it whole. */
static int copy_fetched(struct cache *c, struct fetcher *f,
			struct fetch_source *src, const struct tree_ref *t,
			const struct op *op, int *ret, struct error **errp)
{
	cleanup_tree_copy struct tree_copy tc = TREE_COPY_INIT;
	cleanup_free char *buf = xmalloc(CHUNK_SIZE);
	int r = tree_copy_begin(c, t->size, &tc, errp);

	while (r >= 0 && tc.done < t->size) {
		struct fetch_range rg = {
			.source = src,
			.off = tc.done,
			.len = (size_t)MIN(t->size - tc.done,
					   (uint64_t)CHUNK_SIZE),
		};
		ssize_t n = fetch_read(f, &rg, buf, op, errp);

		r = n < 0 ? (int)n : tree_copy_add(&tc, buf, rg.len, errp);
	}
	return r < 0 ? r : tree_copy_finish(&tc, &t->digest, ret, errp);
}

/* -ENOENT: it was sealed, and is damaged. */
static int copy_sealed(struct cache *c, struct fetch_source *src,
		       const struct tree_ref *t, int *ret, struct error **errp)
{
	cleanup_fd int fd = cache_blob_open(c, &t->digest, t->size, errp);
	int r = fd;

	if (fd >= 0)
		r = tree_copy_file(c, fd, &t->digest, t->size, ret, errp);
	/* Its stat did not tell: from here on it does not count as sealed. */
	if ((r == -EBADMSG || r == -EIO) && fd >= 0 &&
	    content_recheck(fetch_source_content(src), 0, t->size, NULL) ==
		    -ENOENT)
		return -ENOENT;
	return r;
}

/* A copy of the whole tree. A sealed one may be found damaged: again. */
static int tree_fd(struct cache *c, struct fetcher *f, struct fetch_source *src,
		   const struct tree_ref *t, const struct op *op, int *ret,
		   struct error **errp)
{
	for (int tries = 0; tries < 2; tries++) {
		cleanup_error struct error *err = NULL;
		int r = fetch_whole(f, &src, 1, op, &err);

		if (cache_is_unwritable(r))
			return copy_fetched(c, f, src, t, op, ret, errp);
		if (r < 0)
			return error_propagate(errp, &err, r);
		r = copy_sealed(c, src, t, ret, &err);
		if (r != -ENOENT)
			return error_propagate(errp, &err, r);
	}
	return error_set(errp, EIO, "tree '%s' does not stay in the cache",
			 digest_to_str(&t->digest).str);
}

static int tree_get(struct bundle *b, const struct tree_ref *t,
		    const struct op *op, struct tree **ret, struct error **errp)
{
	struct fetch_source *src = NULL;
	cleanup_fd int fd = -1;
	struct fetcher *f;
	struct cache *c;
	int r = session_cache(b->session, &c, errp);

	if (r >= 0)
		r = session_fetcher(b->session, &f, errp);
	if (r >= 0)
		r = tree_source_open(b, f, t, &src, errp);
	if (r < 0)
		return r;
	r = tree_fd(c, f, src, t, op, &fd, errp);
	fetch_source_close(src);
	return r < 0 ? r : tree_open_fd(fd, t->size, ret, errp);
}

int role_view_open(struct bundle *b, const struct root_role *role,
		   const struct op *op, struct role_view **ret,
		   struct error **errp)
{
	cleanup_role_view struct role_view *v = xcalloc(1, sizeof(*v));
	int r;

	v->bundle = b;
	v->role = role;
	r = tree_get(b, &role->tree, op, &v->tree, errp);
	if (r < 0)
		return error_prefix(errp, r, "tree of role '%s'", role->name);
	tree_limit_layers(v->tree, (uint32_t)role->n_layers);
	*ret = steal_ptr(&v);
	return 0;
}

void role_view_close(struct role_view *v)
{
	tree_closep(&v->tree);
	free(v);
}

int bundle_layer_tree(struct bundle *b, size_t layer, const struct op *op,
		      struct tree **ret, struct error **errp)
{
	const struct root_layer *l = &b->root.layers[layer];
	int r = tree_get(b, &l->tree, op, ret, errp);

	if (r < 0)
		return error_prefix(errp, r, "tree of layer '%s'", l->name);
	tree_limit_layers(*ret, 1);
	return 0;
}

/* As many as the tree has records for, so no more than its own size. */
static int run_parts(struct bundle *b, const struct tree *t, uint32_t index,
		     uint32_t n, struct fetch_part **ret, struct error **errp)
{
	cleanup_free struct fetch_part *parts = calloc(n, sizeof(*parts));

	if (!parts)
		return error_set_errno(errp, ENOMEM, "%" PRIu32 " parts", n);
	for (uint32_t k = 0; k < n; k++) {
		int r = tree_source_part(t, index, k, &parts[k].digest,
					 &parts[k].size, errp);
		if (r >= 0)
			r = listed(b, &parts[k].digest, parts[k].size, errp);
		if (r < 0)
			return r;
	}
	*ret = steal_ptr(&parts);
	return 0;
}

int bundle_source(struct bundle *b, const struct tree *t, uint32_t index,
		  struct fetch_source **ret, struct error **errp)
{
	cleanup_free struct fetch_part *parts = NULL;
	struct tree_source src = {0};
	struct fetcher *f;
	int r = session_fetcher(b->session, &f, errp);

	if (r >= 0)
		r = tree_source(t, index, &src, errp);
	if (r < 0)
		return r;
	if (src.size > CHUNK_SIZE && src.n_chunks != chunk_count(src.size))
		return error_set(errp, EBADMSG,
				 "source '%s' has a wrong chunk list",
				 digest_to_str(&src.digest).str);
	if (src.kind == TREE_SOURCE_RUN)
		r = run_parts(b, t, index, src.n_parts, &parts, errp);
	else if (src.kind != TREE_SOURCE_EXTERNAL)
		r = listed(b, &src.digest, src.size, errp);
	if (r < 0)
		return r;

	struct fetch_source_spec spec = {
		.remote = &b->remote,
		.kind = src.kind,
		.content = {src.digest, src.size, src.chunks},
		.parts = parts,
		.n_parts = src.n_parts,
		.uri = src.kind == TREE_SOURCE_EXTERNAL ? src.uri : NULL,
		.uri_len = src.uri_len,
	};
	return fetch_source_open(f, &spec, ret, errp);
}

void file_range(const struct tree_node *n, struct fetch_source *src,
		uint64_t off, size_t len, struct fetch_range *ret)
{
	*ret = (struct fetch_range){
		.source = src,
		.off = n->offset + off,
		.len = len,
		.file_digest = n->digest,
		.file_off = n->offset,
		.file_size = n->size,
	};
}

/*
 * Completeness.
 */

struct find_user {
	uint32_t source;
	char *path;
};

static int uses_source(void *ctx, uint32_t node, const struct tree_node *n,
		       const char *path, struct error **errp)
{
	struct find_user *u = ctx;

	if (n->kind != TREE_FILE || n->source != u->source)
		return 0;
	u->path = xstrdup(path);
	return 1;
}

static int incomplete(const struct role_view *v, uint32_t source,
		      struct error **errp)
{
	struct find_user u = {.source = source};

	tree_walk(v->tree, TREE_ROOT, uses_source, &u, NULL);
	error_set_kind(errp, ERROR_DOWNLOAD, ENOENT,
		       "'%s' of role '%s' is not in the cache",
		       u.path ? u.path : "content", v->role->name);
	free(u.path);
	return error_hint(errp, -ENOENT,
			  "pull the role, its externals included, while "
			  "online");
}

int role_view_complete(struct role_view *v, struct error **errp)
{
	uint32_t n = tree_source_records(v->tree);

	for (uint32_t i = 0; i < n; i = tree_next_source(v->tree, i)) {
		struct fetch_source *s = NULL;
		int r = bundle_source(v->bundle, v->tree, i, &s, errp);

		if (r < 0)
			return r;
		bool sealed = content_sealed(fetch_source_content(s));
		fetch_source_close(s);
		if (!sealed)
			return incomplete(v, i, errp);
	}
	return 0;
}
