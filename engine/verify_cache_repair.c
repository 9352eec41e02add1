/*
 * Getting what is damaged again: from the registry or the store that the bundle
 * came from, by the ways of any pull, so that nothing gets a name that was not
 * verified.
 */
#include <errno.h>

#include "engine/verify_cache_internal.h"

_Static_assert(JSON_MAX_DOC <= MANIFEST_MAX, "one limit for both documents");

static void failed(struct check_item *it, const struct error *err)
{
	if (it->state != CHECK_DAMAGED)
		return;
	free(it->why);
	it->why = xstrdup(err ? err->message : "failed");
}

static void all_failed(struct check_item *it, const struct error *err)
{
	for (; it; it = it->same)
		failed(it, err);
}

static void repaired(struct checking *k, struct check_item *it)
{
	it->state = CHECK_REPAIRED;
	free(it->why);
	it->why = NULL;
	cache_verify_repaired(k->c, &it->finding);
}

static void all_repaired(struct checking *k, struct check_item *it)
{
	for (; it; it = it->same)
		if (it->state == CHECK_DAMAGED)
			repaired(k, it);
}

/* Here, or in a cache below this one: hashed, where its stat does not tell. */
static bool is_there(struct checking *k, const struct digest *d, uint64_t size)
{
	cleanup_fd int fd = cache_blob_open(k->c, d, size, NULL);

	return fd >= 0;
}

static bool wanted(const struct check_item *it)
{
	for (; it; it = it->same)
		if (it->state == CHECK_DAMAGED)
			return true;
	return false;
}

/*
 * The bundle.
 */

static int open_bundle(struct checking *k, struct bundle **ret,
		       struct error **errp)
{
	cleanup_reference struct reference ref = {0};
	int r;

	if (!k->reference)
		return error_set(errp, ENOENT,
				 "where its bundle came from is not known");
	r = reference_parse(k->reference, NULL, &ref, errp);
	if (r < 0)
		return r;
	/* The tag may have moved on. */
	ref.has_digest = true;
	ref.digest = k->bundle;
	return bundle_open(k->session, &ref, k->op, ret, errp);
}

static struct bundle *opened(struct checking *k)
{
	if (!k->open && !k->cannot_open)
		(void)open_bundle(k, &k->open, &k->cannot_open);
	return k->open;
}

void check_close(struct checking *k)
{
	bundle_closep(&k->open);
	error_freep(&k->cannot_open);
}

void check_repair_document(struct checking *k, const struct digest *d)
{
	struct check_item *it = check_items(k, d);
	cleanup_error struct error *err = NULL;
	cleanup_free char *buf = NULL;
	size_t len;

	if (!wanted(it))
		return;
	if (!opened(k))
		all_failed(it, k->cannot_open);
	else if (bundle_keep_documents(k->open, k->op, &err) < 0 ||
		 cache_doc_get(k->c, d, MANIFEST_MAX, &buf, &len, &err) < 0)
		all_failed(it, err);
	else
		all_repaired(k, it);
}

/*
 * Trees.
 */

static void tree_is(struct checking *k, const struct tree_ref *ref, int r,
		    const struct error *err)
{
	struct check_item *it = check_items(k, &ref->digest);

	if (r >= 0 && is_there(k, &ref->digest, ref->size))
		all_repaired(k, it);
	else
		all_failed(it, err);
}

void check_repair_role(struct checking *k, const struct root_role *role)
{
	cleanup_role_view struct role_view *v = NULL;
	cleanup_error struct error *err = NULL;
	int r = -ENOENT;

	if (!wanted(check_items(k, &role->tree.digest)))
		return;
	if (opened(k))
		r = role_view_open(k->open, role, k->op, &v, &err);
	if (r >= 0)
		r = cache_sync(k->c, &err);
	tree_is(k, &role->tree, r, err ? err : k->cannot_open);
}

void check_repair_layer(struct checking *k, size_t layer)
{
	const struct tree_ref *ref = &k->root->layers[layer].tree;
	cleanup_tree struct tree *t = NULL;
	cleanup_error struct error *err = NULL;
	int r = -ENOENT;

	if (!wanted(check_items(k, &ref->digest)))
		return;
	if (opened(k))
		r = bundle_layer_tree(k->open, layer, k->op, &t, &err);
	if (r >= 0)
		r = cache_sync(k->c, &err);
	tree_is(k, ref, r, err ? err : k->cannot_open);
}

/*
 * Contents.
 */

static int get_chunk(struct checking *k, struct fetcher *f,
		     struct fetch_source *src, uint64_t size, uint32_t chunk,
		     struct error **errp)
{
	struct fetch_range rg = {
		.source = src,
		.off = (uint64_t)chunk * CHUNK_SIZE,
	};
	cleanup_free void *buf = NULL;
	ssize_t n;

	if (rg.off >= size)
		return error_set(errp, EBADMSG, "it has no chunk %u", chunk);
	rg.len = chunk_len(size, chunk);
	buf = xmalloc(rg.len);
	n = fetch_read(f, &rg, buf, k->op, errp);
	return n < 0 ? (int)n : 0;
}

static int get_again(struct checking *k, const struct check_item *it,
		     struct fetcher *f, struct fetch_source *src,
		     const struct tree_source *ts, struct error **errp)
{
	int r;

	/* It was removed: its chunks are fetched when they are read. */
	if (it->finding.kind == CACHE_DAMAGED_MAP)
		return 0;
	if (it->finding.kind == CACHE_DAMAGED_CHUNK)
		return get_chunk(k, f, src, ts->size, it->finding.chunk, errp);
	r = fetch_whole(f, &src, 1, k->op, errp);
	if (r >= 0)
		r = cache_sync(k->c, errp);
	if (r >= 0 && !is_there(k, &ts->digest, ts->size))
		r = error_set(errp, EIO, "it does not stay in the cache");
	return r;
}

static int get_source(struct checking *k, const struct tree *t, uint32_t i,
		      const struct check_item *it, struct error **errp)
{
	struct fetch_source *src = NULL;
	struct tree_source ts = {0};
	struct fetcher *f;
	int r = session_fetcher(k->session, &f, errp);

	if (r >= 0)
		r = tree_source(t, i, &ts, errp);
	if (r >= 0)
		r = bundle_source(k->open, t, i, &src, errp);
	if (r >= 0)
		r = get_again(k, it, f, src, &ts, errp);
	fetch_source_close(src);
	return r;
}

static void repair_source(struct checking *k, const struct tree *t, uint32_t i,
			  struct check_item *it)
{
	cleanup_error struct error *err = NULL;

	if (it->state != CHECK_DAMAGED)
		return;
	if (!opened(k))
		failed(it, k->cannot_open);
	else if (get_source(k, t, i, it, &err) < 0)
		failed(it, err);
	else
		repaired(k, it);
}

int check_repair_sources(struct checking *k, const struct tree *t,
			 struct check_item *const *by_source,
			 struct error **errp)
{
	uint32_t n = tree_source_records(t);
	int r = 0;

	for (uint32_t i = 0; r >= 0 && i < n; i = tree_next_source(t, i)) {
		for (struct check_item *it = by_source[i]; it; it = it->same)
			repair_source(k, t, i, it);
		r = op_go_on(k->op, errp);
	}
	return r;
}
