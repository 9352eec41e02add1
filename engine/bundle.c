#include "engine/bundle.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "engine/bundle_internal.h"

static void copy_reference(struct reference *to, const struct reference *from)
{
	*to = *from;
	to->registry = from->registry ? xstrdup(from->registry) : NULL;
	to->repo = from->repo ? xstrdup(from->repo) : NULL;
	to->tag = from->tag ? xstrdup(from->tag) : NULL;
	to->text = from->text ? xstrdup(from->text) : NULL;
}

/* Offline there is no registry, unless it is a folder. */
static int find_registry(struct bundle *b, struct error **errp)
{
	int r = session_registry(b->session, &b->ref, &b->registry, NULL);

	if (r < 0 && r != -ENOTCONN)
		return session_registry(b->session, &b->ref, &b->registry,
					errp);
	if (r < 0)
		b->registry = NULL;
	b->remote = (struct remote){
		.registry = b->registry,
		.repo = reference_repo(&b->ref),
		.stores = session_stores(b->session),
	};
	return 0;
}

static int resolve_offline(struct bundle *b, struct cache *c, const char *key,
			   struct error **errp)
{
	int r = cache_ref_get(c, key, &b->digest, NULL);

	if (r >= 0) {
		b->tag_from_cache = true;
		return 0;
	}
	error_set_kind(errp, ERROR_DOWNLOAD, ENOENT,
		       "'%s' was never resolved here, and this is offline",
		       b->ref.text);
	return error_hint(errp, -ENOENT, "run 'mops pull' while online");
}

static int resolve_online(struct bundle *b, struct cache *c, const char *key,
			  const struct op *op, struct error **errp)
{
	struct registry *reg = b->registry;
	cleanup_error struct error *err = NULL;
	int r = reg->ops->resolve(reg, b->remote.repo, b->ref.tag, &b->digest,
				  op, errp);

	if (r == -ENOENT)
		return error_kind(errp, r, ERROR_NOT_FOUND);
	if (r < 0)
		return r;
	if (cache_ref_put(c, key, &b->digest, &err) < 0)
		log_debug("remembering '%s': %s", key, err->message);
	return 0;
}

/* The one place where a tag becomes a digest. */
static int resolve(struct bundle *b, struct cache *c, const struct op *op,
		   struct error **errp)
{
	cleanup_free char *key = NULL;

	if (b->ref.has_digest) {
		b->digest = b->ref.digest;
		return 0;
	}
	if (session_settings(b->session)->require_digest)
		return error_set(errp, EINVAL,
				 "'%s' has no digest, and require_digest is "
				 "set",
				 b->ref.text);
	key = reference_cache_key(&b->ref);
	return b->registry ? resolve_online(b, c, key, op, errp)
			   : resolve_offline(b, c, key, errp);
}

static int load_manifest(struct bundle *b, const struct op *op,
			 struct error **errp)
{
	struct doc_request rq = {
		.digest = &b->digest, .manifest = true, .what = "manifest"};
	cleanup_free char *buf = NULL, *type = NULL;
	size_t len;
	int r = bundle_doc(b, &rq, op, &buf, &len, &type, errp);

	return r < 0 ? r : manifest_parse(buf, len, type, &b->manifest, errp);
}

static int load_root(struct bundle *b, struct cache *c, const struct op *op,
		     struct error **errp)
{
	const struct descriptor *d = &b->manifest.config;
	struct doc_request rq = {
		.digest = &d->digest, .size = d->size, .what = "root"};
	cleanup_free char *buf = NULL;
	size_t len;
	int r;

	b->root_digest = d->digest;
	if (d->size > JSON_MAX_DOC)
		return error_set(errp, EINVAL, "root of %llu bytes",
				 (unsigned long long)d->size);
	if (d->data) { /* its digest was checked when it was parsed */
		cache_doc_put(c, &d->digest, d->data, d->size, NULL);
		return root_parse(d->data, d->size, &b->root, errp);
	}
	r = bundle_doc(b, &rq, op, &buf, &len, NULL, errp);
	return r < 0 ? r : root_parse(buf, len, &b->root, errp);
}

static int replace_lease(struct bundle *b, bool content, struct error **errp)
{
	struct lease *l = NULL;
	struct cache *c;
	int r = session_cache(b->session, &c, errp);

	if (r >= 0)
		r = lease_take(c, &b->digest, content, &l, errp);
	if (r < 0)
		return r;
	if (b->lease)
		lease_release(b->lease);
	b->lease = l;
	return 0;
}

int bundle_keep_content(struct bundle *b, struct error **errp)
{
	return replace_lease(b, true, errp);
}

static void lease(struct bundle *b)
{
	cleanup_error struct error *err = NULL;

	if (replace_lease(b, false, &err) < 0)
		log_debug("%s", err->message);
}

/* For who has to fetch some of it again, and knows but the digest. */
static void remember_origin(struct bundle *b, struct cache *c)
{
	cleanup_free char *key = reference_digest_key(&b->ref, &b->digest);
	struct digest then;

	if (key && cache_ref_get(c, key, &then, NULL) < 0)
		(void)cache_ref_put(c, key, &b->digest, NULL);
}

static int load(struct bundle *b, const struct op *op, struct error **errp)
{
	cleanup_error struct error *err = NULL;
	struct cache *c;
	int r = session_cache(b->session, &c, errp);

	if (r >= 0)
		r = find_registry(b, errp);
	if (r >= 0)
		r = resolve(b, c, op, errp);
	if (r < 0)
		return r;
	lease(b);
	r = load_manifest(b, op, errp);
	if (r >= 0)
		r = load_root(b, c, op, errp);
	if (r < 0)
		return r;
	if (cache_bundle_record(c, &b->digest, &b->root_digest, NULL, 0, &err) <
	    0)
		log_debug("%s", err->message);
	remember_origin(b, c);
	return 0;
}

int bundle_open(struct session *s, const struct reference *ref,
		const struct op *op, struct bundle **ret, struct error **errp)
{
	cleanup_bundle struct bundle *b = xcalloc(1, sizeof(*b));
	int r;

	b->session = s;
	copy_reference(&b->ref, ref);
	r = load(b, op, errp);
	if (r < 0)
		return error_prefix(errp, r, "opening '%s'", ref->text);
	*ret = steal_ptr(&b);
	return 0;
}

static int keep_tag(struct bundle *b, struct cache *c, struct error **errp)
{
	cleanup_free char *key = NULL;
	struct digest then;

	if (b->ref.has_digest || b->tag_from_cache)
		return 0;
	key = reference_cache_key(&b->ref);
	if (cache_ref_get(c, key, &then, NULL) == 0 &&
	    digest_equal(&then, &b->digest))
		return 0;
	return cache_ref_put(c, key, &b->digest, errp);
}

static int keep_document(struct bundle *b, struct cache *c,
			 const struct doc_request *rq, const struct op *op,
			 struct error **errp)
{
	cleanup_free char *buf = NULL;
	size_t len;
	int r = bundle_doc(b, rq, op, &buf, &len, NULL, errp);

	return r < 0 ? r : cache_doc_put(c, rq->digest, buf, len, errp);
}

int bundle_keep_documents(struct bundle *b, const struct op *op,
			  struct error **errp)
{
	const struct descriptor *d = &b->manifest.config;
	const struct doc_request manifest = {
		.digest = &b->digest, .manifest = true, .what = "manifest"};
	const struct doc_request root = {
		.digest = &d->digest, .size = d->size, .what = "root"};
	struct cache *c;
	int r = session_cache(b->session, &c, errp);

	if (r >= 0)
		r = keep_document(b, c, &manifest, op, errp);
	if (r >= 0 && d->data)
		r = cache_doc_put(c, &d->digest, d->data, d->size, errp);
	else if (r >= 0)
		r = keep_document(b, c, &root, op, errp);
	return r < 0 ? r : keep_tag(b, c, errp);
}

void bundle_close(struct bundle *b)
{
	if (b->lease)
		lease_release(b->lease);
	manifest_release(&b->manifest);
	root_release(&b->root);
	reference_release(&b->ref);
	free(b);
}

static int no_role(const struct bundle *b, const char *wanted,
		   struct error **errp)
{
	cleanup_strbuf struct strbuf names = STRBUF_INIT;

	for (size_t i = 0; i < b->root.n_roles; i++)
		strbuf_addf(&names, "%s'%s'", i ? ", " : "",
			    b->root.roles[i].name);
	if (wanted)
		error_set_kind(errp, ERROR_ROLE, ENOENT,
			       "'%s' has no role '%s'", b->ref.text, wanted);
	else
		error_set_kind(
			errp, ERROR_ROLE, ENOENT,
			"'%s' has no role 'default', and none was chosen",
			b->ref.text);
	return error_hint(errp, -ENOENT, "its roles are %s",
			  strbuf_str(&names));
}

int bundle_choose_role(const struct bundle *b, const char *role,
		       const struct root_role **ret, struct error **errp)
{
	const struct root_role *found;

	if (!role)
		role = session_settings(b->session)->role;
	found = root_find_role(&b->root, role ? role : "default");
	if (!found)
		return no_role(b, role, errp);
	*ret = found;
	return 0;
}
