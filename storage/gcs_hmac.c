/*
 * Google Cloud Storage for holders of an HMAC key: its XML interface, requests
 * signed as GOOG4. One request uploads an object, so an upload that broke off
 * begins anew.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/gcs_internal.h"
#include "storage/provider.h"

#define OBJECT_MAX ((uint64_t)5 << 40)

struct gcs_hmac {
	struct object_http http;
	char *id, *key;
	bool is_emulator;
	struct http_url endpoint;
};

static struct gcs_hmac *hmac_of(struct object_http *h)
{
	return (struct gcs_hmac *)h;
}

static int hmac_compose(struct object_http *h, const struct object_call *c,
			struct object_wire *ret, const struct op *op,
			struct error **errp)
{
	struct gcs_hmac *g = hmac_of(h);
	const struct digest_hex nothing = digest_to_hex(&DIGEST_EMPTY);
	cleanup_free char *path =
		xasprintf("/%s/%s", c->uri->container, c->uri->key);
	struct object_pairs headers = {.n = 0};
	cleanup_free char *host = NULL;
	struct sign_time when;
	const char *payload = object_payload(c, &nothing);
	const struct sign_scope scope = {
		.dialect = &SIGN_GOOG4,
		.id = g->id,
		.secret = g->key,
		.time = object_clock(h),
		.region = "auto",
		.service = "storage",
	};

	ret->url = (struct http_url){
		.tls = g->endpoint.tls,
		.host = xstrdup(g->endpoint.host),
		.port = g->endpoint.port,
		.path = aws_encode_path(path),
	};
	ret->user_host = g->is_emulator;
	ret->time_s = scope.time;
	when = aws_sign_time(scope.time);
	host = object_host_field(&ret->url);
	object_pair(&headers, "host", host);
	object_pair(&headers, "content-type", c->content_type);
	for (size_t i = 0; i < c->n_headers; i++)
		object_pair(&headers, c->headers[i].name, c->headers[i].value);
	object_pair(&headers, "x-goog-date", when.str);
	object_pair(&headers, "x-goog-content-sha256", payload);
	ret->authorization = object_sign(c, path, &headers, payload, &scope);
	object_wire_fields(ret, &headers);
	return 0;
}

static enum attempt hmac_refused(struct object_http *h,
				 const struct object_call *c,
				 const struct object_wire *w,
				 const struct http_response *r,
				 struct object_cures *cures, bool *ret_again,
				 const struct op *op, struct error **errp)
{
	struct object_said said;

	object_said_xml(r, &said);
	if (r->status == 403)
		*ret_again = object_cure_clock(h, w, r, cures);
	return object_refuse(c, r, &said, errp);
}

static int hmac_put(struct object_store *s, const struct pointer_uri *uri,
		    struct feed *feed, const struct digest *sha256,
		    const struct op *op, struct error **errp)
{
	struct digest_hex hex = digest_to_hex(sha256);
	struct object_http *h = object_http_of(s);
	const struct sign_pair headers[] = {
		{"x-goog-if-generation-match", "0"},
		{"x-goog-meta-sha256", hex.str},
	};
	const struct object_call c = {
		.method = HTTP_PUT,
		.uri = uri,
		.headers = headers,
		.n_headers = ARRAY_SIZE(headers),
		.content_type = "application/octet-stream",
	};
	struct error *err = NULL;
	int r = object_present(h, uri, feed->size, sha256, op, errp);

	if (r != 0)
		return r < 0 ? r : 0;
	if (feed->size > OBJECT_MAX)
		return error_set(errp, EFBIG, "an object has at most 5 TiB");
	r = object_put_whole(h, &c, feed, sha256, op, &err);
	return object_put_end(h, uri, feed->size, sha256, r, op, &err, errp);
}

static void hmac_free(struct object_store *s)
{
	struct gcs_hmac *g = hmac_of(object_http_of(s));

	free(g->id);
	wipe_str(&g->key);
	http_url_release(&g->endpoint);
	free(g);
}

static const struct object_store_ops ops = {
	.stat = object_http_stat,
	.read = object_http_read,
	.put = hmac_put,
	.remove = object_http_remove,
	.free = hmac_free,
};

static const struct sign_pair read_headers[] = {{"accept-encoding", "gzip"}};

static const struct object_dialect dialect = {
	.compose = hmac_compose,
	.refused = hmac_refused,
	.validator = gcs_validator,
	.claim = "x-goog-meta-sha256",
	.pin_header = "x-goog-if-generation-match",
	.read_headers = read_headers,
	.n_read_headers = ARRAY_SIZE(read_headers),
};

struct object_store *gcs_hmac_new(const struct gcs_options *o)
{
	const char *id = provider_env("GS_ACCESS_KEY_ID");
	const char *key = provider_env("GS_SECRET_ACCESS_KEY");
	struct gcs_hmac *g;

	if (!id || !key || o->anonymous)
		return NULL;
	g = xcalloc(1, sizeof(*g));
	g->http.store.ops = &ops;
	g->http.dialect = &dialect;
	g->http.client = o->client;
	g->http.times = o->times;
	g->id = xstrdup(id);
	g->key = xstrdup(key);
	/* What is wrong with an endpoint is said by the other one. */
	if (gcs_endpoint(&g->endpoint, &g->is_emulator, NULL) < 0) {
		hmac_free(&g->http.store);
		return NULL;
	}
	return &g->http.store;
}
