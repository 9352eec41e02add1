#include "storage/gcs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "storage/gcs_internal.h"
#include "storage/http_headers.h"
#include "storage/provider.h"

#define PIECE_SIZE ((uint64_t)16 << 20)
#define HOST       "https://storage.googleapis.com"

static const struct json_limits object_limits = {
	.max_bytes = 256u << 10,
	.max_values = 1000,
};

int gcs_endpoint(struct http_url *ret, bool *ret_is_emulator,
		 struct error **errp)
{
	const char *said = provider_env("STORAGE_EMULATOR_HOST");
	cleanup_free char *url = NULL;

	if (said)
		url = xasprintf("%s%s", strstr(said, "://") ? "" : "http://",
				said);
	*ret_is_emulator = said != NULL;
	if (http_url_parse(url ? url : HOST, ret, NULL) == 0) {
		if (strcmp(ret->path, "/") == 0 && !ret->query)
			return 0;
		http_url_release(ret);
	}
	return error_set(errp, EINVAL,
			 "STORAGE_EMULATOR_HOST is not of the form "
			 "[http[s]://]host[:port]");
}

static int configure_locked(struct gcs *g, struct error **errp)
	REQUIRES(&g->lock)
{
	int r = gcs_endpoint(&g->endpoint, &g->is_emulator, errp);

	if (r < 0)
		return r;
	/* An emulator does not get what the machine is to Google. */
	g->has_tokens = !g->is_emulator ||
			provider_env("GOOGLE_APPLICATION_CREDENTIALS") ||
			provider_env("GCE_METADATA_HOST");
	g->configured = true;
	return 0;
}

static int configure(struct gcs *g, struct error **errp)
{
	int r = 0;

	mutex_lock(&g->lock);
	if (!g->configured)
		r = configure_locked(g, errp);
	mutex_unlock(&g->lock);
	return r;
}

/* Encoded. Slashes of a name are no steps of the path. */
static char *path_of(const struct object_call *c)
{
	bool upload = c->kind != NULL;
	struct strbuf sb = STRBUF_INIT;

	strbuf_addf(&sb, "%s/storage/v1/b/", upload ? "/upload" : "");
	uri_encode(&sb, c->uri->container, strlen(c->uri->container), false);
	strbuf_adds(&sb, "/o");
	if (!upload) {
		strbuf_addc(&sb, '/');
		uri_encode(&sb, c->uri->key, strlen(c->uri->key), false);
	}
	return strbuf_steal(&sb);
}

static int gcs_compose(struct object_http *h, const struct object_call *c,
		       struct object_wire *ret, const struct op *op,
		       struct error **errp)
{
	struct gcs *g = gcs_of(h);
	int r = configure(g, errp);

	if (r == 0 && g->keeper && g->has_tokens)
		r = keeper_get(g->keeper, &ret->secret, op, errp);
	if (r < 0)
		return r;
	ret->url = (struct http_url){
		.tls = g->endpoint.tls,
		.host = xstrdup(g->endpoint.host),
		.port = g->endpoint.port,
		.path = path_of(c),
		.query = c->n_query ? aws_encode_query(c->query, c->n_query)
				    : NULL,
	};
	ret->user_host = g->is_emulator;
	ret->time_s = time_wall_s();
	for (size_t i = 0; i < c->n_headers; i++)
		strv_append(&ret->headers,
			    xasprintf("%s: %s", c->headers[i].name,
				      c->headers[i].value));
	if (ret->secret)
		ret->authorization = xasprintf("Bearer %s", ret->secret->token);
	return 0;
}

static enum attempt gcs_refused(struct object_http *h,
				const struct object_call *c,
				const struct object_wire *w,
				const struct http_response *r,
				struct object_cures *cures, bool *ret_again,
				const struct op *op, struct error **errp)
{
	struct gcs *g = gcs_of(h);
	struct object_said said;
	enum attempt a;

	/* "Go on": an answer of an upload that is not at its end. */
	if (r->status == 308 && c->kind && strcmp(c->kind, GCS_SESSION) == 0)
		return ATTEMPT_OK;
	object_said_json(r, &said);
	if (r->status == 401 && w->secret && !cures->secret) {
		cures->secret = true;
		*ret_again = keeper_replace(g->keeper, w->secret, op);
	}
	a = object_refuse(c, r, &said, errp);
	/* Two writers at once; there is nothing yet that we may not replace. */
	if (r->status == 409 && *errp)
		(*errp)->code = EIO;
	if ((a == ATTEMPT_UNAUTHORIZED || a == ATTEMPT_FORBIDDEN) &&
	    !w->secret && g->keeper)
		error_hint(errp, -EACCES,
			   "no Google credentials were found: try 'gcloud auth "
			   "application-default login', or set "
			   "GOOGLE_APPLICATION_CREDENTIALS");
	return a;
}

/* A generation is a number, and nothing else may get into a query. */
static void take_generation(const char *s, char ret[128])
{
	ret[0] = '\0';
	if (s && *s && strlen(s) < 20 && strspn(s, "0123456789") == strlen(s))
		snprintf(ret, 128, "%s", s);
}

void gcs_validator(const struct http_response *r, char ret[128])
{
	take_generation(http_response_header(r, "x-goog-generation"), ret);
}

static int info_of(const struct http_response *r, struct object_info *ret,
		   struct error **errp)
{
	cleanup_json struct json *doc = NULL;
	const char *size, *claim;
	int rc = json_parse(r->body ? r->body : "", r->body_len, &object_limits,
			    &doc, errp);

	if (rc < 0)
		return rc;
	size = json_str(json_get(doc, "size"));
	if (!size || !http_parse_length(size, &ret->size))
		return error_set(errp, EPROTO,
				 "the store does not say its size");
	take_generation(json_str(json_get(doc, "generation")), ret->validator);
	claim = json_str(json_get(json_get(doc, "metadata"), "sha256"));
	if (claim &&
	    digest_parse_hex(claim, strlen(claim), &ret->sha256, NULL) == 0) {
		ret->has_sha256 = true;
		ret->sha256_from = OBJECT_SHA256_METADATA;
	}
	return 0;
}

static int gcs_stat(struct object_store *s, const struct pointer_uri *uri,
		    struct object_info *ret, const struct op *op,
		    struct error **errp)
{
	static const struct sign_pair query[] = {
		{"fields", "size,generation,metadata"}};
	cleanup_http_response struct http_response r = {.retry_after_ms = -1};
	cleanup_free char *name = object_name(uri);
	const struct object_call c = {
		.uri = uri,
		.query = query,
		.n_query = 1,
		.max_body = object_limits.max_bytes,
	};
	struct object_info info = {0};
	int rc = object_call(object_http_of(s), &c, &r, op, errp);

	if (rc < 0)
		return rc;
	rc = info_of(&r, &info, errp);
	if (rc < 0)
		return error_prefix(errp, rc, "'%s'", name);
	*ret = info;
	return 0;
}

static void gcs_free(struct object_store *s)
{
	struct gcs *g = gcs_of(object_http_of(s));

	keeper_free(g->keeper);
	http_url_release(&g->endpoint);
	mutex_destroy(&g->lock);
	free(g);
}

static const struct object_store_ops ops = {
	.stat = gcs_stat,
	.read = object_http_read,
	.put = gcs_put,
	.remove = object_http_remove,
	.free = gcs_free,
};

/* What is kept packed has to come packed, or it comes unpacked and without
 * ranges. */
static const struct sign_pair read_query[] = {{"alt", "media"}};
static const struct sign_pair read_headers[] = {{"Accept-Encoding", "gzip"}};

static const struct object_dialect dialect = {
	.compose = gcs_compose,
	.refused = gcs_refused,
	.validator = gcs_validator,
	.pin_query = "ifGenerationMatch",
	.read_query = read_query,
	.n_read_query = ARRAY_SIZE(read_query),
	.read_headers = read_headers,
	.n_read_headers = ARRAY_SIZE(read_headers),
};

struct object_store *object_store_gcs_new(const struct gcs_options *o)
{
	struct object_store *hmac = gcs_hmac_new(o);
	struct gcs *g;

	if (hmac)
		return hmac;
	g = xcalloc(1, sizeof(*g));
	g->http.store.ops = &ops;
	g->http.dialect = &dialect;
	g->http.client = o->client;
	g->http.times = o->times;
	g->identity.client = o->client;
	g->identity.metadata = o->metadata;
	g->piece_size = o->piece_size ? o->piece_size : PIECE_SIZE;
	mutex_init(&g->lock, LOCK_STORE);
	if (!o->anonymous)
		g->keeper = keeper_new(google_identity_fetch, &g->identity);
	return &g->http.store;
}
