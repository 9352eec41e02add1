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

#include "storage/http_headers.h"
#include "storage/object_http.h"

struct object_read {
	struct sink sink; /* between the client and @out */
	struct object_http *h;
	const struct pointer_uri *uri;
	struct sink *out;
	char validator[128];
	uint64_t pos; /* first byte not delivered */
	uint64_t end;
	bool no_range; /* the server's ranges are wrong */

	/* Of the answer that is arriving. */
	bool bad_range;
	bool enough;    /* we broke it off */
	enum attempt a; /* what on_head() makes of it */
	uint64_t skip;
	uint64_t room; /* bytes it may still have */
};

static int write_wanted(struct sink *sink, const void *buf, size_t n,
			struct error **errp)
{
	struct object_read *b = (struct object_read *)sink;
	const char *p = buf;
	size_t skip, take;
	int r = 0;

	if (n > b->room)
		return error_set(errp, EPROTO, "more bytes than announced");
	b->room -= n;
	skip = (size_t)MIN((uint64_t)n, b->skip);
	b->skip -= skip;
	take = (size_t)MIN((uint64_t)(n - skip), b->end - b->pos);
	if (take)
		r = b->out->write(b->out, p + skip, take, errp);
	if (r < 0)
		return r;
	b->pos += take;
	b->enough = b->pos == b->end && b->room > 0;
	return b->enough ? error_set(errp, ECANCELED, "enough") : 0;
}

static int bad_range(struct object_read *b, const char *why,
		     struct error **errp)
{
	b->bad_range = true;
	return error_set(errp, EPROTO, "a range %s", why);
}

static int too_short(struct object_read *b, struct error **errp)
{
	b->a = ATTEMPT_RANGE;
	return error_set_kind(errp, ERROR_VALIDATION, EPROTO,
			      "it ends before the range does");
}

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

static int on_part(struct object_read *b, const struct http_response *head,
		   struct error **errp)
{
	const char *s = http_response_header(head, "content-range");
	const char *len_s = http_response_header(head, "content-length");
	struct content_range cr;
	uint64_t len;

	if (b->no_range)
		return bad_range(b, "that nobody asked for", errp);
	if (!s || !http_parse_content_range(s, &cr))
		return bad_range(b, "that does not say which", errp);
	if (cr.first != b->pos || cr.last >= b->end)
		return bad_range(b, "other than asked for", errp);
	if (cr.total != UINT64_MAX && cr.total < b->end)
		return too_short(b, errp);
	b->room = cr.last - cr.first + 1;
	if (len_s && http_parse_length(len_s, &len) && len != b->room)
		return bad_range(b, "of another length than it says", errp);
	return 0;
}

static int on_whole(struct object_read *b, const struct http_response *head,
		    struct error **errp)
{
	const char *s = http_response_header(head, "content-length");
	uint64_t len = INT64_MAX;

	if (s && http_parse_length(s, &len) && len < b->end)
		return too_short(b, errp);
	b->skip = b->pos;
	b->room = len;
	return 0;
}

static int on_head(void *ctx, const struct http_response *head,
		   struct error **errp)
{
	struct object_read *b = ctx;
	int r;

	if (head->status != 206 && head->status != 200)
		return 0;
	r = check_validator(b, head, errp);
	if (r < 0)
		return r;
	return head->status == 206 ? on_part(b, head, errp)
				   : on_whole(b, head, errp);
}

static enum attempt read_once(struct object_read *b, const struct retry *retry,
			      struct http_response *ret, const struct op *op,
			      struct error **errp)
{
	const struct object_dialect *d = b->h->dialect;
	cleanup_free char *range =
		xasprintf("bytes=%llu-%llu", (unsigned long long)b->pos,
			  (unsigned long long)(b->end - 1));
	struct object_pairs headers = {.n = 0}, query = {.n = 0};
	struct object_call c = {
		.uri = b->uri,
		.sink = &b->sink,
		.max_body = INT64_MAX,
		.on_head = on_head,
		.ctx = b,
	};

	b->bad_range = b->enough = false;
	b->a = ATTEMPT_OK;
	b->skip = b->room = 0;
	for (size_t i = 0; i < d->n_read_headers; i++)
		headers.v[headers.n++] = d->read_headers[i];
	for (size_t i = 0; i < d->n_read_query; i++)
		query.v[query.n++] = d->read_query[i];
	if (!b->no_range)
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
	if (b->room == 0 || b->pos == b->end)
		return ATTEMPT_OK;
	error_set(errp, EIO, "the answer ended early");
	return ATTEMPT_RESET;
}

static int read_all(struct object_read *b, const struct op *op,
		    struct error **errp)
{
	struct retry retry;
	int r = 0;

	retry_init(&retry, &b->h->times, op_deadline(op));
	retry.must_exist = true;
	while (r == 0 && b->pos < b->end) {
		struct http_response answer;
		struct error *err = NULL;
		uint64_t before = b->pos;
		enum attempt a = read_once(b, &retry, &answer, op, &err);

		retry_progress(&retry, b->pos - before);
		if (!b->enough)
			a = judge(b, a, &answer, &err);
		if (b->enough || a == ATTEMPT_OK) {
			error_free(err);
			http_response_release(&answer);
		} else if (b->bad_range && !b->no_range) {
			b->no_range = true;
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
		.sink = {.write = write_wanted},
		.h = object_http_of(s),
		.uri = uri,
		.out = sink,
		.pos = off,
		.end = off + len,
	};
	int r;

	if (len > INT64_MAX || off > INT64_MAX - len ||
	    strlen(validator) >= sizeof(b.validator))
		return error_set(errp, EINVAL, "a range beyond any object");
	memcpy(b.validator, validator, strlen(validator) + 1);
	r = read_all(&b, op, errp);
	if (r < 0) {
		cleanup_free char *name = object_name(uri);

		return error_prefix(errp, r, "reading '%s'", name);
	}
	return 0;
}
