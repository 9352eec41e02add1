#include "engine/trace_referrer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "engine/trace.h"
#include "storage/manifest_info.h"

#define EMPTY_TYPE "application/vnd.oci.empty.v1+json"
#define EMPTY_TEXT "{}"

/*
 * Attaching.
 */

static struct descriptor describe(const char *media_type, const void *p,
				  size_t n)
{
	return (struct descriptor){
		.media_type = (char *)media_type,
		.digest = digest_of_buf(p, n),
		.size = n,
	};
}

static void write_manifest(const struct descriptor *subject, const char *text,
			   size_t n, struct strbuf *out)
{
	struct descriptor config =
		describe(EMPTY_TYPE, EMPTY_TEXT, strlen(EMPTY_TEXT));
	struct descriptor layer = describe(MEDIA_TYPE_TRACE, text, n);
	struct json_writer w;

	json_writer_init(&w, out);
	json_begin_object(&w, NULL);
	json_put_str(&w, "artifactType", MEDIA_TYPE_TRACE);
	descriptor_write(&w, "config", &config);
	json_begin_array(&w, "layers");
	descriptor_write(&w, NULL, &layer);
	json_end_array(&w);
	json_put_str(&w, "mediaType", MEDIA_TYPE_MANIFEST);
	json_put_int(&w, "schemaVersion", 2);
	descriptor_write(&w, "subject", subject);
	json_end_object(&w);
}

static int put_blob(struct registry *r, const char *repo, const void *p,
		    size_t n, const struct op *op, struct error **errp)
{
	struct digest d = digest_of_buf(p, n);
	struct feed_mem feed;

	if (r->ops->has_blob(r, repo, &d, NULL, op, NULL) == 1)
		return 0;
	feed_mem_init(&feed, p, n);
	return r->ops->put_blob(r, repo, &d, &feed.feed, op, errp);
}

int trace_attach(struct registry *r, const char *repo,
		 const struct descriptor *subject, const char *text, size_t n,
		 struct digest *ret, const struct op *op, struct error **errp)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	int rc;

	write_manifest(subject, text, n, &doc);
	rc = put_blob(r, repo, EMPTY_TEXT, strlen(EMPTY_TEXT), op, errp);
	if (rc == 0)
		rc = put_blob(r, repo, text, n, op, errp);
	if (rc == 0)
		rc = r->ops->put_manifest(r, repo, NULL, MEDIA_TYPE_MANIFEST,
					  doc.buf, doc.len, op, errp);
	if (rc == 0)
		*ret = digest_of_buf(doc.buf, doc.len);
	return error_prefix(errp, rc, "attaching a trace");
}

/*
 * Finding.
 */

struct search {
	struct bundle *b;
	int (*fn)(void *ctx, const char *text, size_t n, struct error **errp);
	void *ctx;
	const struct op *op;
};

/* The one layer of a manifest that is a trace of this bundle. */
static int find_layer(const struct search *s, const struct manifest_info *info,
		      const struct descriptor **ret, struct error **errp)
{
	const struct descriptor *d = NULL;

	/* Of a config and one layer. */
	if (manifest_info_refers(info, &s->b->digest, MEDIA_TYPE_TRACE) &&
	    !info->is_index && info->n_needs == 2)
		d = &info->needs[1];
	if (!d || strcmp(d->media_type, MEDIA_TYPE_TRACE) != 0 || !d->size ||
	    d->size > TRACE_BYTES_MAX)
		return error_set_kind(errp, ERROR_VALIDATION, EINVAL,
				      "it is no trace of this bundle");
	*ret = d;
	return 0;
}

static int check_digest(const void *p, size_t n, const struct digest *want,
			struct error **errp)
{
	struct digest got = digest_of_buf(p, n);

	return digest_equal(&got, want)
		       ? 0
		       : error_set(errp, EBADMSG, "'%s' arrived wrong",
				   digest_to_str(want).str);
}

static int read_info(const struct search *s, const struct digest *d,
		     struct manifest_info *ret, struct error **errp)
{
	cleanup_manifest_bytes struct manifest_bytes m = {0};
	struct registry *r = s->b->registry;
	int rc = r->ops->get_manifest(r, s->b->remote.repo, d, &m, s->op, errp);

	if (rc == 0)
		rc = check_digest(m.buf, m.len, d, errp);
	if (rc == 0)
		rc = manifest_info_parse(m.buf, m.len, m.media_type, ret, errp);
	return rc;
}

static int take_text(const struct search *s, const struct descriptor *d,
		     struct error **errp)
{
	struct registry *r = s->b->registry;
	cleanup_free char *text = NULL;
	struct sink_mem sink;
	int rc;

	sink_mem_init(&sink, (size_t)d->size);
	rc = r->ops->read_blob(r, s->b->remote.repo, &d->digest, d->size, 0,
			       d->size, &sink.sink, s->op, errp);
	text = sink.buf;
	if (rc == 0)
		rc = check_digest(text, sink.len, &d->digest, errp);
	return rc < 0 ? rc : s->fn(s->ctx, text, sink.len, errp);
}

static int take_one(const struct search *s, const struct digest *d,
		    struct error **errp)
{
	cleanup_manifest_info struct manifest_info info = {0};
	const struct descriptor *layer = NULL;
	int r = read_info(s, d, &info, errp);

	if (r == 0)
		r = find_layer(s, &info, &layer, errp);
	if (r == 0)
		r = take_text(s, layer, errp);
	return error_prefix(errp, r, "trace '%s'", digest_to_str(d).str);
}

static int by_digest(const void *a, const void *b)
{
	const struct descriptor *x = a, *y = b;

	return memcmp(x->digest.b, y->digest.b, DIGEST_SIZE);
}

static int take_all(const struct search *s, const struct descriptor *found,
		    size_t n, struct error **errp)
{
	cleanup_error struct error *first = NULL;
	int taken = 0, why = 0;

	for (size_t i = 0; i < MIN(n, (size_t)TRACES_MAX); i++) {
		cleanup_error struct error *err = NULL;
		int r = op_go_on(s->op, &err);

		if (r == 0)
			r = take_one(s, &found[i].digest, &err);
		if (r == 0) {
			taken++;
			continue;
		}
		log_debug("passed over: %s", err ? err->message : strerror(-r));
		if (op_cancelled(s->op))
			return error_propagate(errp, &err, -ECANCELED);
		if (!why) {
			why = r;
			first = steal_ptr(&err);
		}
	}
	return taken ? taken : error_propagate(errp, &first, why);
}

int trace_each_attached(struct bundle *b,
			int (*fn)(void *ctx, const char *text, size_t n,
				  struct error **errp),
			void *ctx, const struct op *op, struct error **errp)
{
	struct search s = {b, fn, ctx, op};
	struct descriptor *found = NULL;
	struct registry *reg = b->registry;
	size_t n = 0;
	int r;

	if (!reg)
		return error_set(errp, ENOTCONN, "this is offline");
	r = reg->ops->referrers(reg, b->remote.repo, &b->digest,
				MEDIA_TYPE_TRACE, &found, &n, op, errp);
	if (r < 0)
		return error_prefix(errp, r, "looking for traces");
	if (n)
		qsort(found, n, sizeof(*found), by_digest);
	r = take_all(&s, found, n, errp);
	descriptors_free(found, n);
	return r;
}
