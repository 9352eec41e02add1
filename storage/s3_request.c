/*
 * What goes on the wire: address, fields, signature.
 */
#include <string.h>

#include "storage/s3_internal.h"

static bool is_paid_by_us(const struct s3 *s, const char *bucket)
{
	for (char *const *b = s->requester_pays; b && *b; b++)
		if (strcmp(*b, bucket) == 0)
			return true;
	return false;
}

int s3_compose(struct object_http *h, const struct object_call *c,
	       struct object_wire *ret, const struct op *op,
	       struct error **errp)
{
	struct s3 *s = s3_of(h);
	const struct digest_hex nothing = digest_to_hex(&DIGEST_EMPTY);
	const char *payload = object_payload(c, &nothing);
	struct object_pairs headers = {.n = 0};
	cleanup_free char *region = NULL;
	cleanup_free char *path = NULL;
	cleanup_free char *host = NULL;
	struct sign_time when;
	int r = s3_configure(s, errp);

	if (r == 0 && s->keeper)
		r = keeper_get(s->keeper, &ret->secret, op, errp);
	if (r < 0)
		return r;
	region = s3_region_of(s, c->uri->container);
	path = s3_address(s, c->uri->container, c->bucket ? NULL : c->uri->key,
			  region, &ret->url);
	host = object_host_field(&ret->url);
	ret->user_host = s->has_endpoint;
	ret->ca_file = s->chain.ca_file;
	ret->time_s = object_clock(h);
	when = aws_sign_time(ret->time_s);
	object_pair(&headers, "host", host);
	object_pair(&headers, "content-type", c->content_type);
	for (size_t i = 0; i < c->n_headers; i++)
		object_pair(&headers, c->headers[i].name, c->headers[i].value);
	if (is_paid_by_us(s, c->uri->container))
		object_pair(&headers, "x-amz-request-payer", "requester");
	if (ret->secret) {
		const struct sign_scope scope = {
			.dialect = &SIGN_AWS4,
			.id = ret->secret->id,
			.secret = ret->secret->key,
			.time = ret->time_s,
			.region = region,
			.service = "s3",
		};

		object_pair(&headers, "x-amz-date", when.str);
		object_pair(&headers, "x-amz-content-sha256", payload);
		object_pair(&headers, "x-amz-security-token",
			    ret->secret->token);
		ret->authorization =
			object_sign(c, path, &headers, payload, &scope);
	}
	object_wire_fields(ret, &headers);
	ret->url.path = aws_encode_path(path);
	ret->url.query =
		c->n_query ? aws_encode_query(c->query, c->n_query) : NULL;
	return 0;
}
