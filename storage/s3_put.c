#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "storage/s3_internal.h"

#define WHOLE_LIMIT ((uint64_t)5 << 40) /* the largest object there can be */

/* In one request: the store checks the payload against the signature, and
 * keeps the checksum where it knows that header. */
static int put_whole(struct s3 *s, const struct pointer_uri *uri,
		     struct feed *feed, const struct digest *sha256, bool plain,
		     const struct op *op, struct error **errp)
{
	struct digest_hex hex = digest_to_hex(sha256);
	cleanup_strbuf struct strbuf base64 = STRBUF_INIT;
	struct object_pairs headers = {.n = 0};
	struct object_call c = {
		.method = HTTP_PUT,
		.uri = uri,
		.content_type = "application/octet-stream",
	};

	base64_encode(&base64, sha256->b, sizeof(sha256->b));
	object_pair(&headers, "x-amz-meta-sha256", hex.str);
	if (!plain) {
		object_pair(&headers, "if-none-match", "*");
		object_pair(&headers, "x-amz-checksum-sha256",
			    strbuf_str(&base64));
	}
	c.headers = headers.v;
	c.n_headers = headers.n;
	return object_put_whole(&s->http, &c, feed, sha256, op, errp);
}

static int put_new(struct s3 *s, const struct pointer_uri *uri,
		   struct feed *feed, const struct digest *sha256,
		   const struct op *op, struct error **errp)
{
	bool plain = atomic_load(&s->plain_puts);
	struct error *err = NULL;
	int r;

	if (feed->size > s->whole_max)
		return s3_put_parts(s, uri, feed, sha256, op, errp);
	r = put_whole(s, uri, feed, sha256, plain, op, &err);
	if (r == -EOPNOTSUPP && !plain) {
		atomic_store(&s->plain_puts, true);
		error_free(steal_ptr(&err));
		r = put_whole(s, uri, feed, sha256, true, op, &err);
	}
	return error_propagate(errp, &err, r);
}

int s3_put(struct object_store *store, const struct pointer_uri *uri,
	   struct feed *feed, const struct digest *sha256, const struct op *op,
	   struct error **errp)
{
	struct object_http *h = object_http_of(store);
	struct error *err = NULL;
	int r = object_present(h, uri, feed->size, sha256, op, errp);

	if (r != 0)
		return r < 0 ? r : 0;
	if (feed->size > WHOLE_LIMIT)
		return error_set(errp, EFBIG,
				 "an object of S3 has at most "
				 "5 TiB");
	r = put_new(s3_of(h), uri, feed, sha256, op, &err);
	return object_put_end(h, uri, feed->size, sha256, r, op, &err, errp);
}
