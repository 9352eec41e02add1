/* What gc must leave of a bundle: known from what the cache itself holds. */
#include <errno.h>

#include "cache/gc.h"
#include "engine/bundle_internal.h"
#include "engine/tree_copy.h"

/* Of the trees that are here: a role that nobody pulled needs nothing. */
static int need_sources(struct cache *c, const struct tree_ref *ref,
			struct digest_set *needed, struct error **errp)
{
	cleanup_tree struct tree *t = NULL;
	cleanup_fd int fd = cache_blob_open(c, &ref->digest, ref->size, NULL);
	cleanup_fd int copy = -1;
	struct tree_source s;
	uint32_t n;
	int r;

	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return error_set_errno(errp, -fd, "tree '%s'",
				       digest_to_str(&ref->digest).str);
	r = tree_copy_file(c, fd, &ref->digest, ref->size, &copy, errp);
	if (r >= 0)
		r = tree_open_fd(copy, ref->size, &t, errp);
	if (r < 0)
		return error_prefix(errp, r, "tree '%s'",
				    digest_to_str(&ref->digest).str);
	n = tree_source_records(t);
	for (uint32_t i = 0; i < n; i = tree_next_source(t, i)) {
		r = tree_source(t, i, &s, errp);
		if (r < 0)
			return r;
		digest_set_add(needed, &s.digest);
	}
	return 0;
}

static int need_tree(struct cache *c, const struct tree_ref *ref, bool content,
		     struct digest_set *needed, struct error **errp)
{
	digest_set_add(needed, &ref->digest);
	return content ? need_sources(c, ref, needed, errp) : 0;
}

static int need_trees(struct cache *c, const struct root *root, bool content,
		      struct digest_set *needed, struct error **errp)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < root->n_layers; i++)
		r = need_tree(c, &root->layers[i].tree, content, needed, errp);
	for (size_t i = 0; r >= 0 && i < root->n_roles; i++)
		r = need_tree(c, &root->roles[i].tree, content, needed, errp);
	return r;
}

int bundle_cached_manifest(struct cache *c, const struct digest *d,
			   struct manifest *ret, struct error **errp)
{
	cleanup_free char *buf = NULL;
	size_t len;
	int r = cache_doc_get(c, d, MANIFEST_MAX, &buf, &len, errp);

	return r < 0 ? r : manifest_parse(buf, len, NULL, ret, errp);
}

int bundle_cached_root(struct cache *c, const struct descriptor *config,
		       struct root *ret, struct error **errp)
{
	cleanup_free char *buf = NULL;
	size_t len;
	int r;

	if (config->data)
		return root_parse(config->data, config->size, ret, errp);
	r = cache_doc_get(c, &config->digest, JSON_MAX_DOC, &buf, &len, errp);
	return r < 0 ? r : root_parse(buf, len, ret, errp);
}

static int need_all(struct cache *c, const struct digest *d, bool content,
		    struct digest_set *needed, struct error **errp)
{
	cleanup_manifest struct manifest m = {0};
	cleanup_root struct root root = {0};
	int r = bundle_cached_manifest(c, d, &m, errp);

	if (r < 0)
		return r;
	digest_set_add(needed, &m.config.digest);
	for (size_t i = 0; content && i < m.n_layers; i++)
		digest_set_add(needed, &m.layers[i].digest);
	r = bundle_cached_root(c, &m.config, &root, errp);
	return r < 0 ? r : need_trees(c, &root, content, needed, errp);
}

int bundle_needs(void *ctx, const struct digest *manifest, bool content,
		 struct digest_set *needed, struct error **errp)
{
	cleanup_error struct error *err = NULL;
	int r = need_all(ctx, manifest, content, needed, &err);

	/* Who opened it has its documents in memory. */
	if (r >= 0 || !content)
		return 0;
	error_propagate(errp, &err, r);
	error_prefix(errp, r, "what '%s' needs is not known",
		     digest_to_str(manifest).str);
	return error_hint(errp, r,
			  "pull it again, or end the mount or the pin that "
			  "keeps it");
}
