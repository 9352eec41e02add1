/*
 * What one hop sends.
 */
#include <string.h>
#include <strings.h>

#include "storage/http_internal.h"

static void add_field(struct curl_slist **l, const char *line)
{
	struct curl_slist *n = curl_slist_append(*l, line);

	if (!n)
		abort();
	*l = n;
}

static bool is_one_line(const char *s)
{
	for (; s && *s; s++)
		if (((unsigned char)*s < ' ' && *s != '\t') || *s == 0x7f)
			return false;
	return true;
}

bool http_fields_fit(const struct http_request *rq)
{
	bool fit =
		is_one_line(rq->content_type) && is_one_line(rq->authorization);

	for (const char *const *h = rq->headers; h && *h; h++)
		fit &= is_one_line(*h);
	return fit;
}

static bool says_encoding(const struct http_request *rq)
{
	for (const char *const *h = rq->headers; h && *h; h++)
		if (strncasecmp(*h, "Accept-Encoding:", 16) == 0)
			return true;
	return false;
}

static struct curl_slist *request_fields(const struct hop *hop)
{
	const struct http_request *rq = hop->rq;
	struct curl_slist *l = NULL;

	if (!says_encoding(rq))
		add_field(&l, "Accept-Encoding: identity");
	add_field(&l, "Expect:"); /* no pause before a body */
	for (const char *const *h = rq->headers; h && *h; h++)
		add_field(&l, *h);
	if (rq->content_type) {
		cleanup_free char *s =
			xasprintf("Content-Type: %s", rq->content_type);
		add_field(&l, s);
	}
	if (hop->with_authorization) {
		char *s = xasprintf("Authorization: %s", rq->authorization);

		add_field(&l, s);
		explicit_bzero(s, strlen(s));
		free(s);
	}
	return l;
}

char *http_origin(const struct http_url *u)
{
	return xasprintf("%s %s %u", u->tls ? "https" : "http", u->host,
			 u->port);
}

struct transfer *http_compose(struct http_client *c, const struct hop *hop,
			      struct http_tls **take_tls)
{
	struct transfer_request rq = {
		.method = hop->rq->method,
		.url = http_url_str(hop->url),
		.origin = http_origin(hop->url),
		.fields = request_fields(hop),
		.has_body = hop->rq->body != NULL,
		.body_size = hop->rq->body ? hop->rq->body->size : 0,
		.body_once = hop->rq->body_once,
		.reach = hop->reach,
		.with_cert = hop->with_cert,
		.tls = steal_ptr(take_tls),
	};

	if (!c->fixed_addresses)
		rq.proxy = http_proxy_for(&c->proxies, hop->url);
	if (!address_class_literal(hop->url->host, &rq.behind))
		rq.behind = ADDRESS_PUBLIC;
	return transfer_new(c, &rq);
}
