/*
 * One hop, on the thread that asked for it: submit, then take what the
 * client's thread puts into the transfer until there is nothing left.
 *
 * Nothing here holds a lock while a sink, a feed or on_head runs.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "storage/http_internal.h"

#define WAIT_SLICE_MS 20 /* how late a cancellation may be noticed */
#define FEED_PIECE    (256u << 10)
#define ERROR_BODY_MS 3000 /* the text of an error is worth this wait */

/* What there is to do next. */
enum event {
	EVENT_HEAD,
	EVENT_DATA,
	EVENT_FEED,
	EVENT_DONE,
	EVENT_LEAVE, /* see exchange.leave_as */
};

struct exchange {
	const struct hop *hop;
	struct transfer *t;
	struct http_response *ret;
	enum attempt leave_as;
	bool head_taken;
	bool discard; /* nobody wants the body */
	size_t body_max;
	size_t body_cap;
	int64_t answer_deadline_ns; /* for the body of an error */

	/* The stall clock: it runs while we wait for the other side. */
	int64_t waited_ns;
	int64_t last_look_ns;
	uint64_t moved;      /* bytes since the clock was set back */
	uint64_t up_at_look; /* up_next - queued, when last seen */
	bool any_progress;
};

static bool is_success(const struct http_response *r)
{
	return r->status >= 200 && r->status < 300;
}

bool http_is_followed(const struct http_request *rq,
		      const struct http_response *r)
{
	if (!rq->follow || !http_response_header(r, "location"))
		return false;
	return r->status == 301 || r->status == 302 || r->status == 303 ||
	       r->status == 307 || r->status == 308;
}

static void progress(struct exchange *x, uint64_t bytes)
{
	x->moved += bytes;
	x->any_progress = true;
}

/* The other side took bytes of the upload. */
static void look_at_upload_locked(struct exchange *x) REQUIRES(&x->t->lock)
{
	uint64_t taken = x->t->up_next - x->t->up.len;

	if (taken > x->up_at_look) {
		progress(x, taken - x->up_at_look);
		if (x->hop->op && x->hop->op->bytes_out)
			atomic_fetch_add(x->hop->op->bytes_out,
					 taken - x->up_at_look);
	}
	x->up_at_look = taken;
}

/* How long the other side may stand still now. */
static int64_t stall_limit_ns(const struct exchange *x)
{
	const struct retry_times *times = &x->t->client->times;
	int64_t ms = MIN(times->stall_ms, times->io_ms);

	/* After a whole upload the server may have to store it first. */
	if (x->t->rq.body_size && x->t->sent && !x->head_taken)
		ms = MAX(ms, times->io_ms);
	return ms > INT64_MAX / NS_PER_MS ? INT64_MAX : ms * NS_PER_MS;
}

static bool has_stalled_locked(struct exchange *x, int64_t now)
	REQUIRES(&x->t->lock)
{
	const struct transfer *t = x->t;
	int64_t limit = stall_limit_ns(x);

	/* Waiting for a slot, a connection or our own rate is no stall. */
	if (t->connected && !t->throttled)
		x->waited_ns += now - x->last_look_ns;
	x->last_look_ns = now;
	if (x->moved >= (uint64_t)(limit / NS_PER_S + 1) * STALL_BYTES_S) {
		x->moved = 0;
		x->waited_ns = 0;
	}
	if (x->waited_ns >= limit)
		return true;
	return !x->any_progress && !x->head_taken && t->started &&
	       x->hop->rq->idle_deadline_ns &&
	       now >= x->hop->rq->idle_deadline_ns;
}

/* Reasons to go although the transfer is not done. The text of an error has a
 * deadline instead of a stall clock. */
static bool must_leave_locked(struct exchange *x) REQUIRES(&x->t->lock)
{
	int64_t now = time_mono_ns();

	x->leave_as = ATTEMPT_KINDS;
	if (op_cancelled(x->hop->op))
		x->leave_as = ATTEMPT_CANCELLED;
	else if (now >= op_deadline(x->hop->op))
		x->leave_as = ATTEMPT_DEADLINE;
	else if (x->answer_deadline_ns != TIME_NEVER)
		x->leave_as = now < x->answer_deadline_ns ? ATTEMPT_KINDS
							  : ATTEMPT_OK;
	else if (has_stalled_locked(x, now))
		x->leave_as = ATTEMPT_STALL;
	return x->leave_as != ATTEMPT_KINDS;
}

static bool wants_feed_locked(const struct exchange *x) REQUIRES(&x->t->lock)
{
	const struct transfer *t = x->t;

	return t->up.buf && !t->done && t->up_next < t->rq.body_size &&
	       ring_room(&t->up) > 0 && !(x->head_taken);
}

static enum event next_event(struct exchange *x)
{
	struct transfer *t = x->t;
	enum event e = EVENT_LEAVE;

	mutex_lock(&x->t->lock);
	x->last_look_ns = time_mono_ns();
	for (;;) {
		look_at_upload_locked(x);
		if (must_leave_locked(x))
			break;
		if (t->head_done && !x->head_taken)
			e = EVENT_HEAD;
		else if (t->head_done && t->down.len)
			e = EVENT_DATA;
		else if (t->done)
			e = EVENT_DONE;
		else if (wants_feed_locked(x))
			e = EVENT_FEED;
		if (e != EVENT_LEAVE)
			break;
		cond_wait_until(&t->cond, &x->t->lock,
				MIN(time_deadline_ms(WAIT_SLICE_MS),
				    op_deadline(x->hop->op)));
	}
	mutex_unlock(&x->t->lock);
	return e;
}

static enum attempt fail(struct exchange *x, enum attempt a, const char *why,
			 struct error **errp)
{
	cleanup_free char *shown = http_url_redacted(x->hop->url);

	error_set(errp, retry_rule(a)->code, "'%s': %s", shown, why);
	return a;
}

static int64_t wall_clock_of(const struct http_response *r)
{
	const char *date = http_response_header(r, "date");
	int64_t s = date ? http_parse_date(date) : -1;

	return s >= 0 ? s : time_wall_s();
}

static void take_head(struct exchange *x)
{
	struct http_response *r = x->ret;
	struct transfer *t = x->t;
	const char *s;

	mutex_lock(&t->lock);
	r->status = t->status;
	r->headers = t->head.v;
	r->n_headers = t->head.n;
	t->head = (struct http_headers){0};
	mutex_unlock(&t->lock);
	x->head_taken = true;
	progress(x, 1);
	s = http_response_header(r, "retry-after");
	if (s)
		r->retry_after_ms = http_parse_retry_after(s, wall_clock_of(r));
	if (r->retry_after_ms > 0 &&
	    attempt_of_status(r->status) == ATTEMPT_BUSY)
		http_pause_set(t->client, t->rq.origin, r->retry_after_ms);
}

/* Where the body of this answer goes, and how much of it. */
static void route_body(struct exchange *x)
{
	const struct http_request *rq = x->hop->rq;

	if (is_success(x->ret)) {
		x->body_max = (size_t)MIN(rq->max_body, (uint64_t)SIZE_MAX - 1);
		return;
	}
	x->discard = http_is_followed(rq, x->ret);
	x->body_max = HTTP_ERROR_BODY_MAX;
	x->answer_deadline_ns = time_deadline_ms(
		MIN(x->t->client->times.stall_ms, ERROR_BODY_MS));
}

static enum attempt check_success_head(struct exchange *x, struct error **errp)
{
	const char *s = http_response_header(x->ret, "content-encoding");
	uint64_t len;

	if (s && strcasecmp(s, "identity") != 0 && !x->hop->rq->as_stored)
		return fail(x, ATTEMPT_PROTOCOL,
			    "the answer has a content encoding", errp);
	s = http_response_header(x->ret, "content-length");
	if (s && !http_parse_length(s, &len))
		return fail(x, ATTEMPT_PROTOCOL,
			    "the answer has a malformed length", errp);
	if (s && x->hop->rq->method != HTTP_HEAD && len > x->hop->rq->max_body)
		return fail(x, ATTEMPT_TOO_BIG, "the answer is too large",
			    errp);
	return ATTEMPT_OK;
}

static enum attempt on_head_event(struct exchange *x, struct error **errp)
{
	enum attempt a = ATTEMPT_OK;

	take_head(x);
	route_body(x);
	if (is_success(x->ret))
		a = check_success_head(x, errp);
	if (a != ATTEMPT_OK || x->discard || !x->hop->on_head)
		return a;
	x->ret->code = x->hop->on_head(x->hop->ctx, x->ret, errp);
	return x->ret->code < 0 ? ATTEMPT_PROTOCOL : ATTEMPT_OK;
}

static enum attempt keep_body(struct exchange *x, const char *p, size_t n,
			      struct error **errp)
{
	struct http_response *r = x->ret;

	if (x->body_cap - r->body_len < n + 1) {
		size_t cap = MIN(2 * (r->body_len + n), x->body_max) + 1;
		char *bigger = realloc(r->body, cap);

		if (!bigger) {
			r->code = -ENOMEM;
			return fail(x, ATTEMPT_LOCAL, "out of memory", errp);
		}
		r->body = bigger;
		x->body_cap = cap;
	}
	memcpy(r->body + r->body_len, p, n);
	r->body_len += n;
	r->body[r->body_len] = '\0';
	return ATTEMPT_OK;
}

/* One run of body bytes. *@ret_stop: the rest of an error is not wanted. */
static enum attempt take_run(struct exchange *x, const char *p, size_t n,
			     bool *ret_stop, struct error **errp)
{
	struct http_response *r = x->ret;
	struct sink *sink = is_success(r) ? x->hop->rq->sink : NULL;
	uint64_t had = sink ? r->sink_bytes : r->body_len;
	size_t fits = (size_t)MIN((uint64_t)n, x->body_max - had);

	*ret_stop = false;
	if (fits < n && is_success(r))
		return fail(x, ATTEMPT_TOO_BIG, "the answer is too large",
			    errp);
	*ret_stop = fits < n;
	if (!sink)
		return keep_body(x, p, fits, errp);
	r->code = sink->write(sink, p, n, errp);
	if (r->code < 0)
		return ATTEMPT_LOCAL;
	r->sink_bytes += n;
	return ATTEMPT_OK;
}

/* Let a paused direction go on. */
static void resume(struct transfer *t)
{
	atomic_store(&t->want_resume, true);
	http_client_wake(t->client);
}

static enum attempt on_data_event(struct exchange *x, bool *ret_stop,
				  struct error **errp)
{
	struct transfer *t = x->t;
	bool half_empty;
	enum attempt a;
	const char *p;
	size_t n;

	mutex_lock(&t->lock);
	p = ring_peek(&t->down, &n);
	mutex_unlock(&t->lock);
	progress(x, n);
	if (x->hop->op && x->hop->op->bytes_in)
		atomic_fetch_add(x->hop->op->bytes_in, n);
	a = take_run(x, p, n, ret_stop, errp);
	mutex_lock(&t->lock);
	ring_drop(&t->down, n);
	half_empty = t->down_paused && ring_room(&t->down) >= t->down.cap / 2;
	if (half_empty)
		t->down_paused = false;
	mutex_unlock(&t->lock);
	if (half_empty)
		resume(t);
	return a;
}

static enum attempt on_feed_event(struct exchange *x, struct error **errp)
{
	struct feed *feed = x->hop->rq->body;
	struct transfer *t = x->t;
	bool was_paused = false;
	unsigned rewinds;
	uint64_t off;
	size_t n;
	char *p;

	mutex_lock(&t->lock);
	p = ring_space(&t->up, &n);
	off = t->up_next;
	rewinds = t->up_rewinds;
	mutex_unlock(&t->lock);
	n = (size_t)MIN((uint64_t)MIN(n, FEED_PIECE), feed->size - off);
	x->ret->code = feed->pread(feed, p, n, off, errp);
	if (x->ret->code < 0)
		return ATTEMPT_LOCAL;
	mutex_lock(&t->lock);
	if (rewinds == t->up_rewinds) {
		ring_filled(&t->up, n);
		t->up_next += n;
	}
	was_paused = t->up_paused;
	t->up_paused = false;
	mutex_unlock(&t->lock);
	if (was_paused)
		resume(t);
	return ATTEMPT_OK;
}

/* An error answer stands although its body broke off: its status says all. */
static enum attempt on_done_event(struct exchange *x, struct error **errp)
{
	if (x->t->result == CURLE_OK && x->head_taken)
		return ATTEMPT_OK;
	if (x->head_taken && !is_success(x->ret))
		return ATTEMPT_OK;
	if (x->t->result == CURLE_OK)
		return fail(x, ATTEMPT_PROTOCOL, "no final answer came", errp);
	return transfer_cause(x->t, x->hop->url, x->hop->op, errp);
}

static enum attempt run(struct exchange *x, struct error **errp)
{
	enum attempt a = ATTEMPT_OK;
	bool stop = false;

	while (a == ATTEMPT_OK && !stop) {
		switch (next_event(x)) {
		case EVENT_HEAD:
			a = on_head_event(x, errp);
			break;
		case EVENT_DATA:
			a = on_data_event(x, &stop, errp);
			break;
		case EVENT_FEED:
			a = on_feed_event(x, errp);
			break;
		case EVENT_DONE:
			return on_done_event(x, errp);
		case EVENT_LEAVE:
			if (x->leave_as == ATTEMPT_OK)
				return ATTEMPT_OK;
			return fail(x, x->leave_as,
				    retry_rule(x->leave_as)->what, errp);
		}
	}
	return a;
}

/* The client's thread ends what is not done; we need not wait for it. */
static void leave(struct transfer *t)
{
	bool done;

	mutex_lock(&t->lock);
	done = t->done;
	mutex_unlock(&t->lock);
	if (!done) {
		atomic_store(&t->abandoned, true);
		http_client_wake(t->client);
	}
	transfer_unref(t);
}

static void log_hop(const struct exchange *x, enum attempt a, int64_t began_ns)
{
	cleanup_free char *shown = NULL;

	if (log_get_level() < LOG_LEVEL_DEBUG)
		return;
	shown = http_url_redacted(x->hop->url);
	log_debug("http: %s: %ld %s, %lld ms", shown, x->ret->status,
		  retry_rule(a)->what,
		  (long long)((time_mono_ns() - began_ns) / NS_PER_MS));
}

/* A proxy is not asked for what we would not go to ourselves. */
static bool is_barred_behind_proxy(struct http_client *c, const struct hop *hop)
{
	enum address_class class;

	return !c->fixed_addresses && http_proxy_for(&c->proxies, hop->url) &&
	       address_class_literal(hop->url->host, &class) &&
	       (class == ADDRESS_NEVER || class > hop->reach);
}

static enum attempt check_target(struct http_client *c, const struct hop *hop,
				 struct http_response *ret, struct error **errp)
{
	cleanup_free char *shown = http_url_redacted(hop->url);
	cleanup_free char *origin = http_origin(hop->url);
	int64_t pause = http_pause_left_ms(c, origin);

	if (!http_fields_fit(hop->rq)) {
		ret->code = error_set(errp, EINVAL,
				      "'%s': a control byte in what would be "
				      "sent, in a token maybe",
				      shown);
		return ATTEMPT_LOCAL;
	}
	if ((!c->fixed_addresses && address_host_is_metadata(hop->url->host)) ||
	    is_barred_behind_proxy(c, hop)) {
		error_set(errp, EIO,
			  "'%s': it is a host that is never "
			  "contacted",
			  shown);
		return ATTEMPT_ADDRESS;
	}
	if (pause) {
		ret->retry_after_ms = pause;
		error_set(errp, ETIMEDOUT,
			  "'%s': the server asked for a pause of %lld s", shown,
			  (long long)((pause + 999) / 1000));
		return ATTEMPT_BUSY;
	}
	return ATTEMPT_OK;
}

enum attempt http_exchange(struct http_client *c, const struct hop *hop,
			   struct http_response *ret, enum address_class *peer,
			   struct error **errp)
{
	int64_t began_ns = time_mono_ns();
	struct exchange x = {
		.hop = hop,
		.ret = ret,
		.answer_deadline_ns = TIME_NEVER,
	};
	struct http_tls *tls = NULL;
	enum attempt a = check_target(c, hop, ret, errp);

	if (a != ATTEMPT_OK)
		return a;
	if (hop->url->tls)
		ret->code =
			http_tls_get(c, hop->url, hop->rq->ca_file, &tls, errp);
	if (ret->code < 0)
		return ATTEMPT_LOCAL;
	x.t = http_compose(c, hop, &tls);
	ret->code = http_client_submit(c, x.t, errp);
	if (ret->code < 0) {
		transfer_unref(x.t);
		return ATTEMPT_LOCAL;
	}
	a = run(&x, errp);
	mutex_lock(&x.t->lock);
	*peer = x.t->peer;
	mutex_unlock(&x.t->lock);
	log_hop(&x, a, began_ns);
	leave(x.t);
	return a;
}
