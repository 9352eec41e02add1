/*
 * Reading a range of an object.
 *
 *   answer                            what follows
 *   206, exactly what was asked       deliver
 *   206, a shorter piece of it        deliver, ask for the rest
 *   206, anything else                not a byte of it; ask once without a range
 *   200                               the whole object: skip to the range
 *   an object shorter than the range  -EPROTO, 416 likewise
 *   412, or another validator         -ESTALE: another object is there now
 *   broken off                        resume at the first byte not delivered
 *
 * Every request carries the validator that was given, so that all pieces are
 * of one object; where none was given, that of the first answer is kept.
 */
#include <errno.h>
#include <string.h>

#include "storage/http_range.h"
#include "storage/object_http.h"

struct object_read {
	struct http_range range;
	struct object_http *h;
	const struct pointer_uri *uri;
	char validator[128];
	enum attempt a; /* what on_head() makes of the answer */
};

/* A store that knows no preconditions would mix two objects into one. */
static int check_validator(struct object_read *b,
			   const struct http_response *head,
			   struct error **errp)
{
	char now[128];

	b->h->dialect->validator(head, now);
	if (!now[0])
		return 0;
	if (!b->validator[0]) {
		memcpy(b->validator, now, sizeof(now));
		return 0;
	}
	if (strcmp(now, b->validator) == 0)
		return 0;
	b->a = ATTEMPT_REJECTED;
	return error_set(errp, ESTALE, "it is not the object first seen");
}

static int on_head(void *ctx, const struct http_response *head,
		   struct error **errp)
{
	struct object_read *b = ctx;
	uint64_t total = UINT64_MAX;
	int r;

	if (head->status != 206 && head->status != 200)
		return 0;
	r = check_validator(b, head, errp);
	if (r == 0)
		r = http_range_on_head(&b->range, head, &total, errp);
	if (r < 0 || total >= b->range.end)
		return r;
	b->a = ATTEMPT_RANGE;
	return error_set_kind(errp, ERROR_VALIDATION, EPROTO,
			      "it ends before the range does");
}

static enum attempt read_once(struct object_read *b, const struct retry *retry,
			      struct http_response *ret, const struct op *op,
			      struct error **errp)
{
	const struct object_dialect *d = b->h->dialect;
	cleanup_free char *range = http_range_ask(&b->range, false);
	struct object_pairs headers = {.n = 0}, query = {.n = 0};
	struct object_call c = {
		.uri = b->uri,
		.sink = &b->range.sink,
		.max_body = INT64_MAX,
		.on_head = on_head,
		.ctx = b,
	};

	b->a = ATTEMPT_OK;
	for (size_t i = 0; i < d->n_read_headers; i++)
		headers.v[headers.n++] = d->read_headers[i];
	for (size_t i = 0; i < d->n_read_query; i++)
		query.v[query.n++] = d->read_query[i];
	object_pair(&headers, "range", range);
	if (b->validator[0] && d->pin_header)
		object_pair(&headers, d->pin_header, b->validator);
	if (b->validator[0] && d->pin_query)
		object_pair(&query, d->pin_query, b->validator);
	c.headers = headers.v;
	c.n_headers = headers.n;
	c.query = query.v;
	c.n_query = query.n;
	return object_try(b->h, &c, retry, ret, op, errp);
}

/* What the attempt amounts to; ATTEMPT_OK: its answer was taken whole. */
static enum attempt judge(struct object_read *b, enum attempt a,
			  struct http_response *r, struct error **errp)
{
	if (b->a != ATTEMPT_OK)
		return b->a;
	if (a == ATTEMPT_RANGE)
		error_kind(errp, -EPROTO, ERROR_VALIDATION);
	if (a != ATTEMPT_OK)
		return a;
	if (r->status != 200 && r->status != 206) {
		error_set(errp, EPROTO, "status %ld", r->status);
		return ATTEMPT_PROTOCOL;
	}
	if (b->range.room == 0 || b->range.pos == b->range.end)
		return ATTEMPT_OK;
	error_set(errp, EIO, "the answer ended early");
	return ATTEMPT_RESET;
}

static int read_all(struct object_read *b, const struct op *op,
		    struct error **errp)
{
	struct http_range *g = &b->range;
	struct retry retry;
	int r = 0;

	retry_init(&retry, &b->h->times, op_deadline(op));
	retry.must_exist = true;
	while (r == 0 && g->pos < g->end) {
		struct http_response answer;
		struct error *err = NULL;
		uint64_t before = g->pos;
		enum attempt a = read_once(b, &retry, &answer, op, &err);

		retry_progress(&retry, g->pos - before);
		if (!g->enough)
			a = judge(b, a, &answer, &err);
		if (g->enough || a == ATTEMPT_OK) {
			error_free(err);
			http_response_release(&answer);
		} else if (g->bad && !g->no_range) {
			g->no_range = true;
			error_free(err);
			http_response_release(&answer);
		} else {
			r = http_again(&retry, a, &answer, op, &err, errp);
		}
	}
	return r;
}

int object_http_read(struct object_store *s, const struct pointer_uri *uri,
		     const char *validator, uint64_t off, uint64_t len,
		     struct sink *sink, const struct op *op,
		     struct error **errp)
{
	struct object_read b = {
		.h = object_http_of(s),
		.uri = uri,
	};
	int r;

	if (len > INT64_MAX || off > INT64_MAX - len ||
	    strlen(validator) >= sizeof(b.validator))
		return error_set(errp, EINVAL, "a range beyond any object");
	http_range_init(&b.range, sink, off, len);
	memcpy(b.validator, validator, strlen(validator) + 1);
	r = read_all(&b, op, errp);
	if (r < 0) {
		cleanup_free char *name = object_name(uri);

		return error_prefix(errp, r, "reading '%s'", name);
	}
	return 0;
}
