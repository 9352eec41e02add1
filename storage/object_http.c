#include "storage/object_http.h"

#include <errno.h>

#include "storage/http_headers.h"

#define SKEW_S    240 /* less is not what a store complains about */
#define CURES_MAX 4   /* one of each kind, and the call itself */

static void wire_release(struct object_wire *w)
{
	http_url_release(&w->url);
	for (char **p = w->headers; p && *p; p++)
		explicit_bzero(*p, strlen(*p));
	strv_free(w->headers);
	wipe_str(&w->authorization);
	secret_unref(w->secret);
	*w = (struct object_wire){0};
}
#define cleanup_wire __attribute__((cleanup(wire_release)))

static enum attempt
send_wire(struct object_http *h, const struct object_call *c,
	  const struct object_wire *w, const struct retry *retry,
	  struct http_response *ret, const struct op *op, struct error **errp)
{
	int64_t give_up = retry_give_up_ns(retry);
	const struct http_request rq = {
		.method = c->method,
		.url = w->url,
		.headers = (const char *const *)w->headers,
		.authorization = w->authorization,
		.body = c->body,
		.content_type = c->content_type,
		.sink = c->sink,
		.max_body = c->max_body,
		.as_stored = true,
		.user_host = w->user_host,
		.ca_file = w->ca_file,
		.no_cert = true, /* that is for registries */
		/* A provider's own name may be a private endpoint's. */
		.reach = ADDRESS_PRIVATE,
		.idle_deadline_ns = give_up == TIME_NEVER ? 0 : give_up,
	};

	return http_request(h->client, &rq, ret, c->on_head, c->ctx, op, errp);
}

enum attempt object_try(struct object_http *h, const struct object_call *c,
			const struct retry *retry, struct http_response *ret,
			const struct op *op, struct error **errp)
{
	struct object_cures cures = {0};

	for (int i = 0;; i++) {
		cleanup_wire struct object_wire w = {0};
		struct error *err = NULL;
		bool again = false;
		enum attempt a;

		*ret = (struct http_response){.retry_after_ms = -1};
		ret->code = h->dialect->compose(h, c, &w, op, errp);
		if (ret->code < 0)
			return ATTEMPT_LOCAL;
		a = send_wire(h, c, &w, retry, ret, op, errp);
		if (a != ATTEMPT_OK ||
		    (ret->status >= 200 && ret->status < 300))
			return a;
		a = h->dialect->refused(h, c, &w, ret, &cures, &again, op,
					&err);
		if (!again || i == CURES_MAX) {
			ret->code = err ? -err->code : 0;
			error_propagate(errp, &err, 0);
			return a;
		}
		error_free(err);
		http_response_release(ret);
	}
}

bool object_cure_clock(struct object_http *h, const struct object_wire *w,
		       const struct http_response *r,
		       struct object_cures *cures)
{
	const char *date = http_response_header(r, "date");
	int64_t theirs = date ? http_parse_date(date) : -1;
	int64_t off = theirs - w->time_s;

	if (cures->clock || theirs < 0 || (off < SKEW_S && off > -SKEW_S))
		return false;
	cures->clock = true;
	__atomic_store_n(&h->clock_offset_s, theirs - time_wall_s(),
			 __ATOMIC_RELAXED);
	return true;
}

int object_call(struct object_http *h, const struct object_call *c,
		struct http_response *ret, const struct op *op,
		struct error **errp)
{
	struct retry retry;
	int r;

	retry_init(&retry, &h->times, op_deadline(op));
	retry.must_exist = c->must_exist;
	do {
		struct error *err = NULL;
		enum attempt a = object_try(h, c, &retry, ret, op, &err);

		if (a == ATTEMPT_OK)
			return 0;
		r = http_again(&retry, a, ret, op, &err, errp);
	} while (r == 0);
	return r;
}

int object_command(struct object_http *h, const struct object_call *c,
		   const struct op *op, struct error **errp)
{
	struct http_response answer = {.retry_after_ms = -1};
	int r = object_call(h, c, &answer, op, errp);

	if (r == 0)
		http_response_release(&answer);
	return r;
}

int object_head(struct object_http *h, const struct object_call *c,
		struct http_response *r, struct object_info *ret,
		const struct op *op, struct error **errp)
{
	cleanup_free char *name = object_name(c->uri);
	struct object_info info = {0};
	int rc = object_call(h, c, r, op, errp);

	if (rc == 0)
		rc = object_length(r, name, &info.size, errp);
	if (rc < 0)
		return rc;
	object_claim(r, h->dialect->claim, &info);
	h->dialect->validator(r, info.validator);
	*ret = info;
	return 0;
}

int object_http_stat(struct object_store *s, const struct pointer_uri *uri,
		     struct object_info *ret, const struct op *op,
		     struct error **errp)
{
	cleanup_http_response struct http_response r = {.retry_after_ms = -1};
	const struct object_call c = {.method = HTTP_HEAD, .uri = uri};

	return object_head(object_http_of(s), &c, &r, ret, op, errp);
}

int object_http_remove(struct object_store *s, const struct pointer_uri *uri,
		       const struct op *op, struct error **errp)
{
	const struct object_call c = {
		.method = HTTP_DELETE,
		.uri = uri,
		.max_body = OBJECT_ANSWER_MAX,
	};

	return object_command(object_http_of(s), &c, op, errp);
}
