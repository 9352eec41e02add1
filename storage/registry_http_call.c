#include <errno.h>
#include <string.h>

#include "storage/registry_http_internal.h"

#define CHALLENGES_ANSWERED 2 /* one, and one more after a re-read */
#define HOPS_MAX            5

static void url_of(const struct registry_http *h, const struct registry_call *c,
		   struct http_url *ret)
{
	const char *query;

	if (c->url) {
		http_url_copy(c->url, ret);
		return;
	}
	http_url_copy(&h->origin, ret);
	free(ret->path);
	query = strchr(c->path, '?');
	ret->path = query ? xstrndup(c->path, (size_t)(query - c->path))
			  : xstrdup(c->path);
	if (h->mirror_of)
		ret->query = xasprintf("%s%sns=%s", query ? query + 1 : "",
				       query ? "&" : "", h->mirror_of);
	else
		ret->query = query ? xstrdup(query + 1) : NULL;
}

/* As it is, without looking at a challenge. */
static enum attempt
send_call(struct registry_http *h, const struct registry_call *c,
	  const struct retry *retry, const char *authorization, bool home,
	  const struct http_url *url, struct http_response *ret,
	  const struct op *op, struct error **errp)
{
	int64_t give_up = retry_give_up_ns(retry);
	const struct http_request rq = {
		.method = c->method,
		.url = *url,
		.headers = c->headers,
		.authorization = authorization,
		.body = c->body,
		.body_once = c->body_once,
		.content_type = c->content_type,
		.sink = c->sink,
		.max_body = c->max_body,
		.follow = c->follow,
		.user_host = home,
		.no_cert = h->mirror_of != NULL,
		.reach = (enum address_class)atomic_load(&h->peer),
		.idle_deadline_ns = give_up == TIME_NEVER ? 0 : give_up,
	};
	enum attempt a =
		http_request(h->client, &rq, ret, c->on_head, c->ctx, op, errp);

	/* The last answer counts: a name may lead elsewhere by now. */
	if (home && (a == ATTEMPT_OK || ret->peer != ADDRESS_PUBLIC))
		atomic_store(&h->peer, (int)ret->peer);
	if (a == ATTEMPT_OK)
		registry_http_warnings(h, ret);
	return a;
}

/* At one place, answering its challenges when that is the registry itself:
 * @home. */
static enum attempt ask(struct registry_http *h, const struct registry_call *c,
			const struct retry *retry, const struct http_url *url,
			bool home, struct http_response *ret,
			const struct op *op, struct error **errp)
{
	enum attempt a;

	*ret = (struct http_response){.retry_after_ms = -1};
	for (int round = 0;; round++) {
		cleanup_secret char *auth = NULL;
		bool changed;

		a = ATTEMPT_OK;
		if (home)
			a = registry_http_authorization(h, c, retry, &auth, ret,
							op, errp);
		if (a == ATTEMPT_OK)
			a = send_call(h, c, retry, auth, home, url, ret, op,
				      errp);
		if (a != ATTEMPT_OK || ret->status != 401 || !home ||
		    ret->redirected || round == CHALLENGES_ANSWERED)
			return a;
		a = registry_http_authenticate(h, c, retry, auth, &changed, ret,
					       op, errp);
		if (a != ATTEMPT_OK || !changed)
			return a;
		http_response_release(ret);
	}
}

/* Redirects that keep method and body; those of GET and HEAD were followed
 * already. */
static bool moves(const struct http_response *r)
{
	return (r->status == 307 || r->status == 308) &&
	       http_response_header(r, "location");
}

enum attempt registry_http_once(struct registry_http *h,
				const struct registry_call *c,
				const struct retry *retry,
				struct http_response *ret, const struct op *op,
				struct error **errp)
{
	cleanup_http_url struct http_url url = {0};
	bool home = !c->stranger;

	url_of(h, c, &url);
	for (int hop = 0;; hop++) {
		struct http_url next = {0};
		enum attempt a;

		/* Once a chain has left, a foreign host chose where it goes:
		 * no credentials go there, even if it leads back. */
		home = home && http_url_same_origin(&url, &h->origin);
		a = ask(h, c, retry, &url, home, ret, op, errp);
		ret->strayed |= !home;

		if (a != ATTEMPT_OK || !moves(ret) || hop == HOPS_MAX)
			return a;
		ret->code = registry_http_location(&url, ret, &next, errp);
		if (ret->code < 0)
			return ATTEMPT_PROTOCOL;
		http_url_release(&url);
		url = next;
		http_response_release(ret);
	}
}

/* An answer that may be another one next time. */
static enum attempt judged(struct registry_http *h, enum attempt a,
			   struct http_response *r, struct error **errp)
{
	if (a != ATTEMPT_OK || attempt_of_status(r->status) != ATTEMPT_BUSY)
		return a;
	r->code = registry_http_refused(h, r, NULL, errp);
	return ATTEMPT_BUSY;
}

int registry_http_call(struct registry_http *h, const struct registry_call *c,
		       struct http_response *ret, const struct op *op,
		       struct error **errp)
{
	struct retry retry;
	int r;

	retry_init(&retry, &h->times, op_deadline(op));
	do {
		struct error *err = NULL;
		enum attempt a =
			registry_http_once(h, c, &retry, ret, op, &err);

		a = judged(h, a, ret, &err);
		if (a == ATTEMPT_OK)
			return 0;
		r = http_again(&retry, a, ret, op, &err, errp);
	} while (r == 0);
	return r;
}
