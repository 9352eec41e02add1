/*
 * The redirect loop: each hop is judged and its headers are made anew.
 *
 * Authorization goes to the origin that was asked, the client certificate to it
 * if the user named it, and once a chain has left it they do not come back: a
 * foreign host could otherwise pick what is fetched with them.
 */
#include <errno.h>

#include "storage/http_internal.h"

#define HOPS_MAX 10

void http_response_release(struct http_response *r)
{
	for (size_t i = 0; i < r->n_headers; i++) {
		free(r->headers[i].name);
		free(r->headers[i].value);
	}
	free(r->headers);
	free(r->body);
	http_url_release(&r->final_url);
	*r = (struct http_response){.retry_after_ms = -1};
}

const char *http_response_header(const struct http_response *r,
				 const char *name)
{
	return http_header_find(r->headers, r->n_headers, name);
}

static enum attempt refuse(const struct http_url *from, enum attempt a,
			   const char *why, struct error **errp)
{
	cleanup_free char *shown = http_url_redacted(from);

	error_set(errp, retry_rule(a)->code, "'%s': %s", shown, why);
	return a;
}

/* Where @r sends us. Moves *@url on. */
static enum attempt step(const struct http_response *r, struct http_url *url,
			 struct error **errp)
{
	cleanup_error struct error *err = NULL;
	struct http_url next = {0};
	const char *location = http_response_header(r, "location");

	if (http_url_resolve(url, location, &next, &err) < 0)
		return refuse(url, ATTEMPT_PROTOCOL,
			      "it redirects to something that is no URL", errp);
	if (url->tls && !next.tls) {
		http_url_release(&next);
		return refuse(url, ATTEMPT_ADDRESS,
			      "it redirects from https to http", errp);
	}
	http_url_release(url);
	*url = next;
	return ATTEMPT_OK;
}

static void start_anew(struct http_response *r)
{
	bool redirected = r->redirected, strayed = r->strayed;

	http_response_release(r);
	r->redirected = redirected;
	r->strayed = strayed;
}

enum attempt http_request(struct http_client *c, const struct http_request *rq,
			  struct http_response *ret,
			  int (*on_head)(void *ctx,
					 const struct http_response *head,
					 struct error **errp),
			  void *ctx, const struct op *op, struct error **errp)
{
	cleanup_http_url struct http_url url = {0};
	enum address_class first = ADDRESS_PUBLIC, peer = ADDRESS_PUBLIC;
	enum attempt a = ATTEMPT_OK;
	struct hop hop = {
		.rq = rq,
		.url = &url,
		.with_authorization = rq->authorization != NULL,
		.with_cert = rq->user_host && !rq->no_cert,
		.reach = rq->user_host ? ADDRESS_LOOPBACK : rq->reach,
		.on_head = on_head,
		.ctx = ctx,
		.op = op,
	};

	*ret = (struct http_response){.retry_after_ms = -1};
	http_url_copy(&rq->url, &url);
	for (unsigned n = 0; a == ATTEMPT_OK; n++) {
		start_anew(ret);
		peer = ADDRESS_PUBLIC;
		a = http_exchange(c, &hop, ret, &peer, errp);
		if (n == 0)
			first = peer;
		if (a != ATTEMPT_OK || c->fixed_addresses ||
		    !http_is_followed(rq, ret))
			break;
		if (n == HOPS_MAX) {
			a = refuse(&url, ATTEMPT_ADDRESS,
				   "it redirects too often", errp);
			break;
		}
		a = step(ret, &url, errp);
		ret->redirected = true;
		if (rq->user_host)
			hop.reach = first;
		if (!http_url_same_origin(&url, &rq->url)) {
			hop.with_authorization = hop.with_cert = false;
			ret->strayed = true;
		}
	}
	ret->peer = first;
	http_url_copy(&url, &ret->final_url);
	return a;
}
