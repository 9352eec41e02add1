#include <errno.h>
#include <string.h>
#include <strings.h>

#include "storage/http_headers.h"
#include "storage/manifest_info.h"
#include "storage/registry_http_internal.h"

/* As a server may send wrong bytes once, but not a second time. */
#define FETCHES_OF_A_DIGEST  2
#define STORES_OF_A_MANIFEST 5
#define STORE_PAUSE_MS       50

static char *path_of(const char *repo, const char *ref)
{
	return xasprintf("/v2/%s/manifests/%s", repo, ref);
}

static int not_found_is_a_name(struct error **errp, int r)
{
	return r == -ENOENT ? error_kind(errp, r, ERROR_NOT_FOUND) : r;
}

/* GET or HEAD, successful. */
static int ask(struct registry_http *h, enum http_method method,
	       const char *repo, const char *ref, struct http_response *ret,
	       const struct op *op, struct error **errp)
{
	static const char *const headers[] = {MANIFEST_ACCEPT, NULL};
	cleanup_free char *path = path_of(repo, ref);
	cleanup_free char *what =
		xasprintf("manifest '%s' of '%s/%s'", ref, h->host, repo);
	const struct registry_call c = {
		.repo = repo,
		.method = method,
		.path = path,
		.headers = headers,
		.max_body = MANIFEST_MAX,
		.follow = true,
	};
	int r = registry_http_call(h, &c, ret, op, errp);

	if (r < 0)
		return error_prefix(errp, r, "%s", what);
	if (ret->status == 200)
		return 0;
	r = not_found_is_a_name(errp,
				registry_http_refused(h, ret, what, errp));
	http_response_release(ret);
	return r;
}

int registry_http_fetch_manifest(struct registry_http *h, const char *repo,
				 const char *ref, struct http_response *ret,
				 const struct op *op, struct error **errp)
{
	return ask(h, HTTP_GET, repo, ref, ret, op, errp);
}

static bool said_digest(const struct http_response *r, struct digest *ret)
{
	const char *s = http_response_header(r, "docker-content-digest");

	return s && digest_parse(s, strlen(s), ret, NULL) == 0;
}

/* A registry that does not say the digest is asked for the manifest itself. */
static int resolve_by_content(struct registry_http *h, const char *repo,
			      const char *tag, struct digest *ret,
			      const struct op *op, struct error **errp)
{
	cleanup_http_response struct http_response answer = {.retry_after_ms =
								     -1};
	struct digest said, got;
	int r = ask(h, HTTP_GET, repo, tag, &answer, op, errp);

	if (r < 0)
		return r;
	got = digest_of_buf(answer.body, answer.body_len);
	if (said_digest(&answer, &said) && !digest_equal(&said, &got))
		return error_set(errp, EBADMSG,
				 "manifest '%s' of '%s/%s' is not the one that "
				 "its answer names",
				 tag, h->host, repo);
	*ret = got;
	return 0;
}

int registry_http_resolve(struct registry *r, const char *repo, const char *tag,
			  struct digest *ret, const struct op *op,
			  struct error **errp)
{
	cleanup_http_response struct http_response answer = {.retry_after_ms =
								     -1};
	struct registry_http *h = registry_http_of(r);
	struct error *err = NULL;
	int rc = registry_check_names(repo, tag, errp);

	if (rc < 0)
		return rc;
	rc = ask(h, HTTP_HEAD, repo, tag, &answer, op, &err);
	if (rc == 0 && said_digest(&answer, ret))
		return 0;
	/* No digest, or HEAD is not for everyone; a missing tag is missing. */
	if (rc == 0 || rc == -EACCES || rc == -EOPNOTSUPP || rc == -EIO) {
		error_free(err);
		return resolve_by_content(h, repo, tag, ret, op, errp);
	}
	return error_propagate(errp, &err, rc);
}

static bool is_generic(const char *type)
{
	return !type || strcmp(type, "application/json") == 0 ||
	       strcmp(type, "application/octet-stream") == 0 ||
	       strcmp(type, "text/plain") == 0;
}

/* It becomes a header when the manifest is pushed on. */
static bool is_media_type(const char *s)
{
	cleanup_free char *parsed = http_media_type(s);

	return parsed && strcasecmp(parsed, s) == 0;
}

static int confused(const char *what, struct error **errp)
{
	return error_set_kind(errp, ERROR_VALIDATION, EPROTO, "the manifest %s",
			      what);
}

/*
 * The type that the manifest is read as. What the header says and what the
 * document says must agree: otherwise two readers could take the same verified
 * bytes for different things.
 */
static int settle_type(const char *header, const void *buf, size_t len,
		       char **ret, struct error **errp)
{
	cleanup_free char *said = http_media_type(header);
	cleanup_json struct json *doc = NULL;
	const char *own;
	bool layers, manifests;
	int r = json_parse(buf, len, &JSON_LIMITS_DOC, &doc, errp);

	if (r < 0)
		return error_prefix(errp, r, "manifest");
	own = json_str(json_get(doc, "mediaType"));
	layers = json_get(doc, "layers") != NULL;
	manifests = json_get(doc, "manifests") != NULL;
	if (layers && manifests)
		return confused("has both layers and manifests", errp);
	if (own && !is_generic(said) && strcmp(own, said) != 0)
		return confused("calls itself another type than its answer",
				errp);
	if (!own && !is_generic(said))
		own = said;
	if (!own && layers)
		own = MEDIA_TYPE_MANIFEST;
	if (!own && manifests)
		own = MEDIA_TYPE_INDEX;
	if (!own)
		return confused("does not say its type", errp);
	if (!is_media_type(own))
		return confused("calls itself what is no media type", errp);
	*ret = xstrdup(own);
	return 0;
}

int registry_http_get_manifest(struct registry *r, const char *repo,
			       const struct digest *d,
			       struct manifest_bytes *ret, const struct op *op,
			       struct error **errp)
{
	struct registry_http *h = registry_http_of(r);
	struct digest_str name = digest_to_str(d);
	int rc = registry_check_names(repo, NULL, errp);

	for (int i = 0; rc == 0 && i < FETCHES_OF_A_DIGEST; i++) {
		cleanup_http_response struct http_response answer = {
			.retry_after_ms = -1};
		struct digest got;

		rc = ask(h, HTTP_GET, repo, name.str, &answer, op, errp);
		if (rc < 0)
			return rc;
		got = digest_of_buf(answer.body, answer.body_len);
		if (!digest_equal(&got, d))
			continue;
		rc = settle_type(http_response_header(&answer, "content-type"),
				 answer.body, answer.body_len, &ret->media_type,
				 errp);
		if (rc < 0)
			return error_prefix(errp, rc, "'%s/%s@%s'", h->host,
					    repo, name.str);
		ret->len = answer.body_len;
		ret->buf = steal_ptr(&answer.body);
		return 0;
	}
	if (rc < 0)
		return rc;
	return error_set(errp, EBADMSG,
			 "manifest '%s' of '%s/%s' arrives with other bytes",
			 name.str, h->host, repo);
}

/* A registry that names another digest has stored something else. */
static int check_stored(const struct http_response *r, const void *buf,
			size_t len, const char *what, struct error **errp)
{
	struct digest said, got = digest_of_buf(buf, len);

	if (said_digest(r, &said) && !digest_equal(&said, &got))
		return error_set(errp, EPROTO,
				 "%s was stored under another digest", what);
	return 0;
}

/* One PUT. */
static int store_once(struct registry_http *h, const struct registry_call *c,
		      const char *what, bool *ret_subject_kept,
		      const struct op *op, struct error **errp)
{
	cleanup_http_response struct http_response answer = {.retry_after_ms =
								     -1};
	struct feed_mem *sent = (struct feed_mem *)c->body;
	int r = registry_http_call(h, c, &answer, op, errp);

	if (r < 0)
		return error_prefix(errp, r, "%s", what);
	if (answer.status != 201 && answer.status != 200 &&
	    answer.status != 202)
		return registry_http_refused(h, &answer, what, errp);
	if (ret_subject_kept)
		*ret_subject_kept =
			http_response_header(&answer, "oci-subject") != NULL;
	return check_stored(&answer, sent->p, (size_t)sent->feed.size, what,
			    errp);
}

/*
 * Distribution's file store can answer that a digest is wrong while somebody
 * else pushes a blob that the manifest names: it reads a link that is being
 * written. What we sent does hash to what we say, so ask again.
 */
int registry_http_store_manifest(struct registry_http *h, const char *repo,
				 const char *ref, const char *media_type,
				 const void *buf, size_t len,
				 bool *ret_subject_kept, const struct op *op,
				 struct error **errp)
{
	cleanup_free char *path = path_of(repo, ref);
	cleanup_free char *what =
		xasprintf("manifest '%s' of '%s/%s'", ref, h->host, repo);
	struct feed_mem feed;
	const struct registry_call c = {
		.repo = repo,
		.access = ACCESS_PUSH,
		.method = HTTP_PUT,
		.path = path,
		.content_type = media_type,
		.body = &feed.feed,
		.max_body = SMALL_BODY_MAX,
	};

	feed_mem_init(&feed, buf, len);
	for (int i = 1;; i++) {
		struct error *err = NULL;
		int r = store_once(h, &c, what, ret_subject_kept, op, &err);

		if (r != -EBADMSG || i == STORES_OF_A_MANIFEST ||
		    retry_wait(STORE_PAUSE_MS * i, op) != ATTEMPT_OK)
			return error_propagate(errp, &err, r);
		error_free(err);
	}
}

int registry_http_put_manifest(struct registry *r, const char *repo,
			       const char *tag, const char *media_type,
			       const void *buf, size_t len, const struct op *op,
			       struct error **errp)
{
	cleanup_manifest_info struct manifest_info info = {0};
	struct registry_http *h = registry_http_of(r);
	bool kept = false;
	int rc = registry_check_names(repo, tag, errp);

	if (rc < 0)
		return rc;
	if (len > MANIFEST_PUSH_MAX)
		return error_set(errp, EFBIG,
				 "a manifest of %zu bytes is more than "
				 "registries take (%d)",
				 len, MANIFEST_PUSH_MAX);
	if (!is_media_type(media_type))
		return error_set(errp, EINVAL, "'%s' is no media type",
				 media_type);
	rc = manifest_info_parse(buf, len, media_type, &info, errp);
	if (rc < 0)
		return rc;
	rc = registry_http_store_manifest(
		h, repo, tag ? tag : digest_to_str(&info.self.digest).str,
		media_type, buf, len, &kept, op, errp);
	if (rc < 0 || !info.has_subject || kept)
		return rc;
	return registry_http_note_referrer(h, repo, &info.subject, &info.self,
					   op, errp);
}

static int removed(struct registry_http *h, const struct http_response *r,
		   bool is_tag, const char *what, struct error **errp)
{
	if (r->status == 202 || r->status == 200 || r->status == 204)
		return 0;
	/* 400: a registry that takes digests only */
	if (is_tag && r->status == 400)
		return error_set(errp, EOPNOTSUPP,
				 "%s: this registry removes no tags", what);
	return not_found_is_a_name(errp,
				   registry_http_refused(h, r, what, errp));
}

int registry_http_remove(struct registry *r, const char *repo, const char *tag,
			 const struct digest *d, const struct op *op,
			 struct error **errp)
{
	cleanup_http_response struct http_response answer = {.retry_after_ms =
								     -1};
	struct registry_http *h = registry_http_of(r);
	cleanup_free char *ref = NULL;
	cleanup_free char *path = NULL;
	cleanup_free char *what = NULL;
	struct registry_call c = {
		.repo = repo,
		.access = ACCESS_DELETE,
		.method = HTTP_DELETE,
		.max_body = SMALL_BODY_MAX,
	};
	int rc = registry_check_names(repo, tag, errp);

	if (rc < 0)
		return rc;
	ref = xstrdup(tag ? tag : digest_to_str(d).str);
	what = xasprintf("removing '%s' of '%s/%s'", ref, h->host, repo);
	path = path_of(repo, ref);
	c.path = path;
	rc = registry_http_call(h, &c, &answer, op, errp);
	if (rc < 0)
		return error_prefix(errp, rc, "%s", what);
	return removed(h, &answer, tag != NULL, what, errp);
}
