/*
 * Pieces of a request that the dialects make alike.
 */
#include <string.h>

#include "storage/object_http.h"

const char *object_method(enum http_method m)
{
	static const char *const methods[] = {
		[HTTP_GET] = "GET",     [HTTP_HEAD] = "HEAD",
		[HTTP_POST] = "POST",   [HTTP_PUT] = "PUT",
		[HTTP_PATCH] = "PATCH", [HTTP_DELETE] = "DELETE",
	};

	return methods[m];
}

char *object_host_field(const struct http_url *u)
{
	bool ipv6 = strchr(u->host, ':') != NULL;

	if (u->port == (u->tls ? 443 : 80))
		return xasprintf("%s%s%s", ipv6 ? "[" : "", u->host,
				 ipv6 ? "]" : "");
	return xasprintf("%s%s%s:%u", ipv6 ? "[" : "", u->host, ipv6 ? "]" : "",
			 u->port);
}

void object_wire_fields(struct object_wire *w, const struct object_pairs *p)
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

const char *object_payload(const struct object_call *c,
			   const struct digest_hex *nothing)
{
	if (!c->body || !c->body->size)
		return nothing->str;
	return c->body_sha256 ? c->body_sha256 : SIGN_UNSIGNED_PAYLOAD;
}

char *object_sign(const struct object_call *c, const char *path,
		  const struct object_pairs *headers, const char *payload,
		  const struct sign_scope *scope)
{
	const struct sign_request rq = {
		.method = object_method(c->method),
		.path = path,
		.query = c->query,
		.n_query = c->n_query,
		.headers = headers->v,
		.n_headers = headers->n,
		.payload = payload,
	};

	return aws_sign_header(&rq, scope);
}

int64_t object_clock(const struct object_http *h)
{
	return time_wall_s() +
	       __atomic_load_n(&h->clock_offset_s, __ATOMIC_RELAXED);
}
