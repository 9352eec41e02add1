/* Documents of a bundle: small, hashed at every load, downloaded once. */
#include <errno.h>

#include "base/log.h"
#include "engine/bundle_internal.h"

#define DOC_CLAIM_MS 30000 /* then one downloads what another should have */

static int from_registry(struct bundle *b, const struct doc_request *rq,
			 const struct op *op, struct manifest_bytes *ret,
			 struct error **errp)
{
	struct registry *reg = b->registry;
	struct sink_mem sink;
	int r;

	if (rq->manifest)
		return reg->ops->get_manifest(reg, b->remote.repo, rq->digest,
					      ret, op, errp);
	sink_mem_init(&sink, rq->size);
	r = reg->ops->read_blob(reg, b->remote.repo, rq->digest, rq->size, 0,
				rq->size, &sink.sink, op, errp);
	if (r < 0) {
		free(sink.buf);
		return r;
	}
	ret->buf = sink.buf;
	ret->len = sink.len;
	return 0;
}

static bool right(const struct doc_request *rq, const struct manifest_bytes *m)
{
	struct digest got = digest_of_buf(m->buf, m->len);

	return digest_equal(&got, rq->digest);
}

/* A named bundle that is not there was not found; an inner blob that is not
 * there is a broken registry. */
static int missing(const struct doc_request *rq, int r, struct error **errp)
{
	if (r == -ENOENT)
		error_kind(errp, r,
			   rq->manifest ? ERROR_NOT_FOUND : ERROR_DOWNLOAD);
	return error_prefix(errp, r, "reading %s '%s'", rq->what,
			    digest_to_str(rq->digest).str);
}

static int download(struct bundle *b, const struct doc_request *rq,
		    const struct op *op, struct manifest_bytes *ret,
		    struct error **errp)
{
	for (int tries = 0; tries < 2; tries++) {
		struct manifest_bytes m = {0};
		int r = from_registry(b, rq, op, &m, errp);

		if (r < 0) {
			manifest_bytes_release(&m);
			return missing(rq, r, errp);
		}
		if (right(rq, &m)) {
			*ret = m;
			return 0;
		}
		manifest_bytes_release(&m);
	}
	return error_set(errp, EBADMSG, "%s '%s' arrived wrong twice", rq->what,
			 digest_to_str(rq->digest).str);
}

static int from_cache(struct cache *c, const struct doc_request *rq,
		      struct manifest_bytes *ret)
{
	return cache_doc_get(c, rq->digest,
			     rq->manifest ? MANIFEST_MAX : (size_t)rq->size,
			     &ret->buf, &ret->len, NULL);
}

static int offline(const struct doc_request *rq, struct error **errp)
{
	error_set_kind(errp, ERROR_DOWNLOAD, ENOENT,
		       "%s '%s' is not in the cache, and this is offline",
		       rq->what, digest_to_str(rq->digest).str);
	return error_hint(errp, -ENOENT, "run 'mops pull' while online");
}

static int get(struct bundle *b, struct cache *c, const struct doc_request *rq,
	       const struct op *op, struct manifest_bytes *ret,
	       struct error **errp)
{
	cleanup_claim struct claim *cl = NULL;
	cleanup_error struct error *err = NULL;
	int64_t wait = time_deadline_ms(DOC_CLAIM_MS);
	int r;

	if (from_cache(c, rq, ret) >= 0)
		return 0;
	if (!b->registry)
		return offline(rq, errp);
	/* Without a claim, after the deadline, it is downloaded twice. */
	claim_take(c, rq->digest, MIN(wait, op_deadline(op)), &cl);
	if (from_cache(c, rq, ret) >= 0)
		return 0;
	r = download(b, rq, op, ret, errp);
	if (r < 0)
		return r;
	if (cache_doc_put(c, rq->digest, ret->buf, ret->len, &err) < 0)
		log_debug("keeping %s: %s", rq->what, err->message);
	return 0;
}

int bundle_doc(struct bundle *b, const struct doc_request *rq,
	       const struct op *op, char **ret, size_t *ret_len,
	       char **ret_media_type, struct error **errp)
{
	cleanup_manifest_bytes struct manifest_bytes m = {0};
	struct cache *c;
	int r = session_cache(b->session, &c, errp);

	if (r >= 0)
		r = get(b, c, rq, op, &m, errp);
	if (r < 0)
		return r;
	*ret = steal_ptr(&m.buf);
	*ret_len = m.len;
	if (ret_media_type)
		*ret_media_type = steal_ptr(&m.media_type);
	return 0;
}
