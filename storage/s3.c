#include "storage/s3.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "storage/s3_internal.h"

#define WHOLE_MAX ((uint64_t)64 << 20)
#define PART_SIZE ((uint64_t)16 << 20)

/* The store's own checksum, unless it is one of the parts' checksums. */
static void take_checksum(const struct http_response *r,
			  struct object_info *info)
{
	const char *s = http_response_header(r, "x-amz-checksum-sha256");
	const char *type = http_response_header(r, "x-amz-checksum-type");
	void *bytes = NULL;
	size_t n = 0;

	if (!s || (type && strcmp(type, "FULL_OBJECT") != 0) ||
	    base64_decode(s, strlen(s), DIGEST_SIZE, &bytes, &n) < 0)
		return;
	if (n == DIGEST_SIZE) {
		memcpy(info->sha256.b, bytes, DIGEST_SIZE);
		info->has_sha256 = true;
		info->sha256_from = OBJECT_SHA256_CHECKSUM;
	}
	free(bytes);
}

static int s3_stat(struct object_store *s, const struct pointer_uri *uri,
		   struct object_info *ret, const struct op *op,
		   struct error **errp)
{
	static const struct sign_pair headers[] = {
		{"x-amz-checksum-mode", "ENABLED"}};
	cleanup_http_response struct http_response r = {.retry_after_ms = -1};
	const struct object_call c = {
		.method = HTTP_HEAD,
		.uri = uri,
		.headers = headers,
		.n_headers = 1,
	};
	int rc = object_head(object_http_of(s), &c, &r, ret, op, errp);

	/* What the store computed goes before what somebody claimed. */
	if (rc == 0)
		take_checksum(&r, ret);
	return rc;
}

/* DELETE of nothing is a success: so look first. */
static int s3_remove(struct object_store *s, const struct pointer_uri *uri,
		     const struct op *op, struct error **errp)
{
	struct object_info info;
	int r = s3_stat(s, uri, &info, op, errp);

	return r < 0 ? r : object_http_remove(s, uri, op, errp);
}

static void s3_free(struct object_store *store)
{
	struct s3 *s = s3_of(object_http_of(store));

	keeper_free(s->keeper);
	s3_config_release(s);
	strv_free(s->requester_pays);
	mutex_destroy(&s->lock);
	free(s);
}

static const struct object_store_ops ops = {
	.stat = s3_stat,
	.read = object_http_read,
	.put = s3_put,
	.remove = s3_remove,
	.free = s3_free,
};

static const struct object_dialect dialect = {
	.compose = s3_compose,
	.refused = s3_refused,
	.validator = object_etag,
	.claim = "x-amz-meta-sha256",
	.pin_header = "if-match",
};

struct object_store *object_store_s3_new(const struct s3_options *o)
{
	struct s3 *s = xcalloc(1, sizeof(*s));

	s->http.store.ops = &ops;
	s->http.dialect = &dialect;
	s->http.client = o->client;
	s->http.times = o->times;
	s->chain.client = o->client;
	s->chain.metadata = o->metadata;
	s->whole_max = o->whole_max ? o->whole_max : WHOLE_MAX;
	s->part_size = o->part_size ? o->part_size : PART_SIZE;
	for (char *const *b = o->requester_pays; b && *b; b++)
		strv_append(&s->requester_pays, xstrdup(*b));
	mutex_init(&s->lock, LOCK_STORE);
	if (!o->anonymous)
		s->keeper = keeper_new(aws_chain_fetch, &s->chain);
	return &s->http.store;
}
