/*
 * What goes on the wire: address, fields, signature.
 */
#include <string.h>

#include "storage/s3_internal.h"

char *s3_host_field(const struct http_url *u)
{
	bool ipv6 = strchr(u->host, ':') != NULL;

	if (u->port == (u->tls ? 443 : 80))
		return xasprintf("%s%s%s", ipv6 ? "[" : "", u->host,
				 ipv6 ? "]" : "");
	return xasprintf("%s%s%s:%u", ipv6 ? "[" : "", u->host, ipv6 ? "]" : "",
			 u->port);
}

static bool is_paid_by_us(const struct s3 *s, const char *bucket)
{
	for (char *const *b = s->requester_pays; b && *b; b++)
		if (strcmp(*b, bucket) == 0)
			return true;
	return false;
}

static void add_fields(struct object_wire *w, const struct object_pairs *p)
{
	for (size_t i = 0; i < p->n; i++) {
		/* These two are libcurl's and the client's to write. */
		if (strcmp(p->v[i].name, "host") == 0 ||
		    strcmp(p->v[i].name, "content-type") == 0)
			continue;
		strv_append(&w->headers,
			    xasprintf("%s: %s", p->v[i].name, p->v[i].value));
	}
}

static void sign(const struct object_call *c, const char *path,
		 const struct object_pairs *headers, const char *payload,
		 const char *region, struct object_wire *w)
{
	static const char *const methods[] = {
		[HTTP_GET] = "GET",     [HTTP_HEAD] = "HEAD",
		[HTTP_POST] = "POST",   [HTTP_PUT] = "PUT",
		[HTTP_PATCH] = "PATCH", [HTTP_DELETE] = "DELETE",
	};
	const struct sign_request rq = {
		.method = methods[c->method],
		.path = path,
		.query = c->query,
		.n_query = c->n_query,
		.headers = headers->v,
		.n_headers = headers->n,
		.payload = payload,
	};
	const struct sign_scope scope = {
		.dialect = &SIGN_AWS4,
		.id = w->secret->id,
		.secret = w->secret->key,
		.time = w->time_s,
		.region = region,
		.service = "s3",
	};

	w->authorization = aws_sign_header(&rq, &scope);
}

static const char *payload_of(const struct object_call *c,
			      const struct digest_hex *nothing)
{
	if (!c->body || !c->body->size)
		return nothing->str;
	return c->body_sha256 ? c->body_sha256 : SIGN_UNSIGNED_PAYLOAD;
}

int s3_compose(struct object_http *h, const struct object_call *c,
	       struct object_wire *ret, const struct op *op,
	       struct error **errp)
{
	struct s3 *s = s3_of(h);
	const struct digest_hex nothing = digest_to_hex(&DIGEST_EMPTY);
	const char *payload = payload_of(c, &nothing);
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
	host = s3_host_field(&ret->url);
	ret->user_host = s->has_endpoint;
	ret->time_s = time_wall_s() +
		      __atomic_load_n(&h->clock_offset_s, __ATOMIC_RELAXED);
	when = aws_sign_time(ret->time_s);
	object_pair(&headers, "host", host);
	object_pair(&headers, "content-type", c->content_type);
	for (size_t i = 0; i < c->n_headers; i++)
		object_pair(&headers, c->headers[i].name, c->headers[i].value);
	if (is_paid_by_us(s, c->uri->container))
		object_pair(&headers, "x-amz-request-payer", "requester");
	if (ret->secret) {
		object_pair(&headers, "x-amz-date", when.str);
		object_pair(&headers, "x-amz-content-sha256", payload);
		object_pair(&headers, "x-amz-security-token",
			    ret->secret->token);
		sign(c, path, &headers, payload, region, ret);
	}
	add_fields(ret, &headers);
	ret->url.path = aws_encode_path(path);
	ret->url.query =
		c->n_query ? aws_encode_query(c->query, c->n_query) : NULL;
	return 0;
}
