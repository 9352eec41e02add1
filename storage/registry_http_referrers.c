/*
 * Referrers: the API where there is one, else the tag that stands in for it
 * (OCI distribution specification, "Unavailable Referrers API"): an index
 * under "sha256-<hex>" that every client keeps up by itself.
 */
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/strbuf.h"
#include "storage/http_headers.h"
#include "storage/registry_http_internal.h"

#define NOTE_TRIES 5

struct found {
	struct descriptor *v;
	size_t n;
	size_t cap;
	const char *artifact_type; /* NULL: all */
};

static void found_release(struct found *f)
{
	for (size_t i = 0; i < f->n; i++)
		descriptor_release(&f->v[i]);
	free(f->v);
}
#define cleanup_found __attribute__((cleanup(found_release)))

static bool is_known(const struct found *f, const struct digest *d)
{
	for (size_t i = 0; i < f->n; i++)
		if (digest_equal(&f->v[i].digest, d))
			return true;
	return false;
}

static bool is_wanted(const struct found *f, const struct descriptor *d)
{
	if (is_known(f, &d->digest))
		return false;
	return !f->artifact_type ||
	       (d->artifact_type &&
		strcmp(d->artifact_type, f->artifact_type) == 0);
}

static int add_index(void *ctx, const struct json *doc, struct error **errp)
{
	const struct json *list = NULL;
	struct found *f = ctx;
	int r = json_need_array(doc, "manifests", &list, errp);

	for (const struct json *v = json_first(list); r == 0 && v;
	     v = json_next(v)) {
		struct descriptor d = {0};

		r = descriptor_parse(v, &d, errp);
		if (r == 0 && is_wanted(f, &d)) {
			ARRAY_GROW(f->v, f->n, f->cap);
			f->v[f->n++] = d;
		} else {
			descriptor_release(&d);
		}
	}
	return r;
}

static char *fallback_tag(const struct digest *subject)
{
	return xasprintf("sha256-%s", digest_to_hex(subject).str);
}

/* The index under the fallback tag; *@ret NULL: there is none. */
static int fetch_fallback(struct registry_http *h, const char *repo,
			  const char *tag, struct json **ret,
			  const struct op *op, struct error **errp)
{
	cleanup_http_response struct http_response answer = {.retry_after_ms =
								     -1};
	cleanup_json struct json *doc = NULL;
	cleanup_free char *type = NULL;
	struct error *err = NULL;
	const char *own;
	int r = registry_http_fetch_manifest(h, repo, tag, &answer, op, &err);

	*ret = NULL;
	if (r == -ENOENT) {
		error_free(err);
		return 0;
	}
	if (r < 0)
		return error_propagate(errp, &err, r);
	r = json_parse(answer.body, answer.body_len, &JSON_LIMITS_DOC, &doc,
		       errp);
	if (r < 0)
		return error_prefix(errp, r, "'%s'", tag);
	type = http_media_type(http_response_header(&answer, "content-type"));
	own = json_str(json_get(doc, "mediaType"));
	if (strcmp(own ? own : type ? type : "", MEDIA_TYPE_INDEX) != 0)
		return error_set(errp, EPROTO, "tag '%s' of '%s' is no index",
				 tag, repo);
	*ret = steal_ptr(&doc);
	return 0;
}

static int from_fallback(struct registry_http *h, const char *repo,
			 const struct digest *subject, struct found *f,
			 const struct op *op, struct error **errp)
{
	cleanup_free char *tag = fallback_tag(subject);
	cleanup_json struct json *doc = NULL;
	int r = fetch_fallback(h, repo, tag, &doc, op, errp);

	return r < 0 || !doc ? r : add_index(f, doc, errp);
}

static int check_index(void *ctx, const struct json *doc, struct error **errp)
{
	const char *type = json_str(json_get(doc, "mediaType"));

	if (type && strcmp(type, MEDIA_TYPE_INDEX) != 0)
		return error_set(errp, EPROTO, "the answer is no index");
	return add_index(ctx, doc, errp);
}

/* Answers of registries that have no such API: not there, sent elsewhere, or
 * something that is no index. */
static bool has_no_api(int r, long status)
{
	return r == -ENOENT || r == -EOPNOTSUPP || status == 303 ||
	       (status == 200 && (r == -EINVAL || r == -EPROTO)) ||
	       status == 400;
}

int registry_http_referrers(struct registry *r, const char *repo,
			    const struct digest *subject,
			    const char *artifact_type, struct descriptor **ret,
			    size_t *ret_n, const struct op *op,
			    struct error **errp)
{
	cleanup_found struct found f = {.artifact_type = artifact_type};
	struct registry_http *h = registry_http_of(r);
	cleanup_strbuf struct strbuf path = STRBUF_INIT;
	cleanup_free char *what = NULL;
	struct error *err = NULL;
	long status = 0;
	int rc = registry_check_names(repo, NULL, errp);

	if (rc < 0)
		return rc;
	strbuf_addf(&path, "/v2/%s/referrers/%s", repo,
		    digest_to_str(subject).str);
	if (artifact_type) {
		strbuf_adds(&path, "?artifactType=");
		uri_encode(&path, artifact_type, strlen(artifact_type), false);
	}
	what = xasprintf("referrers of '%s/%s@%s'", h->host, repo,
			 digest_to_str(subject).str);
	rc = registry_http_pages(h, repo, strbuf_str(&path), what, check_index,
				 &f, &status, op, &err);
	if (rc < 0 && has_no_api(rc, status)) {
		error_free(steal_ptr(&err));
		rc = from_fallback(h, repo, subject, &f, op, &err);
	}
	if (rc < 0)
		return error_propagate(errp, &err, rc);
	*ret = steal_ptr(&f.v);
	*ret_n = f.n;
	f.n = 0;
	return 0;
}

/* The old index, if any, and @self at its end. */
static char *extended_index(const struct json *old,
			    const struct descriptor *self)
{
	struct strbuf sb = STRBUF_INIT;
	struct json_writer w;
	const struct json *v;

	json_writer_init(&w, &sb);
	json_begin_object(&w, NULL);
	json_begin_array(&w, "manifests");
	for (v = json_first(json_get(old, "manifests")); v; v = json_next(v))
		json_put_value(&w, NULL, v);
	descriptor_write(&w, NULL, self);
	json_end_array(&w);
	json_put_str(&w, "mediaType", MEDIA_TYPE_INDEX);
	json_put_int(&w, "schemaVersion", 2);
	json_end_object(&w);
	return strbuf_steal(&sb);
}

static int store_index(struct registry_http *h, const char *repo,
		       const char *tag, const char *text, const struct op *op,
		       struct error **errp)
{
	size_t n = strlen(text);

	if (n > MANIFEST_PUSH_MAX)
		return error_set(errp, EFBIG,
				 "the list of referrers '%s' is full", tag);
	return registry_http_store_manifest(h, repo, tag, MEDIA_TYPE_INDEX,
					    text, n, NULL, op, errp);
}

/* Others may write the same tag at the same time: look again until we are in
 * what is there. */
int registry_http_note_referrer(struct registry_http *h, const char *repo,
				const struct digest *subject,
				const struct descriptor *self,
				const struct op *op, struct error **errp)
{
	cleanup_free char *tag = fallback_tag(subject);

	for (int i = 0; i < NOTE_TRIES; i++) {
		cleanup_found struct found f = {0};
		cleanup_json struct json *doc = NULL;
		cleanup_free char *text = NULL;
		int r = fetch_fallback(h, repo, tag, &doc, op, errp);

		if (r == 0 && doc)
			r = add_index(&f, doc, errp);
		if (r < 0)
			return r;
		if (is_known(&f, &self->digest))
			return 0;
		text = extended_index(doc, self);
		r = store_index(h, repo, tag, text, op, errp);
		if (r < 0)
			return r;
	}
	return error_set(errp, EIO,
			 "other writers keep replacing tag '%s' of '%s'", tag,
			 repo);
}
