#include "tests/fakes/fault_internal.h"

#include <string.h>

#include "base/alloc.h"

#define DELAY_SLICE 20 /* ms between looks at the operation's end */

void fault_state_init(struct fault_state *s, const struct fault *fault)
{
	memset(s, 0, sizeof(*s));
	mutex_init(&s->lock, LOCK_FAKE);
	if (fault) {
		s->fault = *fault;
		s->armed = true;
	}
}

void fault_state_release(struct fault_state *s)
{
	mutex_destroy(&s->lock);
}

static bool is_hit_locked(struct fault_state *s) REQUIRES(s->lock)
{
	s->calls++;
	if (!s->armed)
		return false;
	return s->fault.every ? s->calls >= s->fault.nth
			      : s->calls == s->fault.nth;
}

static int delay(uint64_t ms, const struct op *op, struct error **errp)
{
	int64_t end = time_deadline_ms((int64_t)MIN(ms, (uint64_t)INT64_MAX));
	int r = op_go_on(op, errp);

	while (r == 0 && time_mono_ns() < end) {
		int64_t left = (end - time_mono_ns()) / NS_PER_MS + 1;

		time_sleep_ms(MIN(left, (int64_t)DELAY_SLICE));
		r = op_go_on(op, errp);
	}
	return r;
}

int fault_hit(struct fault_state *s, const char *call, const struct op *op,
	      struct error **errp)
{
	unsigned nth;
	bool hit;

	mutex_lock(&s->lock);
	hit = is_hit_locked(s);
	nth = s->calls;
	mutex_unlock(&s->lock);
	if (!hit)
		return 0;
	if (s->fault.action == FAULT_FAIL)
		return error_set_errno(errp, s->fault.code,
				       "injected at call %u, %s", nth, call);
	if (s->fault.action == FAULT_DELAY)
		return delay(s->fault.arg, op, errp);
	return 1;
}

unsigned fault_state_calls(struct fault_state *s)
{
	unsigned n;

	mutex_lock(&s->lock);
	n = s->calls;
	mutex_unlock(&s->lock);
	return n;
}

void fault_flip(const struct fault *f, void *buf, size_t n, uint64_t off,
		uint64_t total)
{
	uint64_t at;

	if (f->action != FAULT_CORRUPT || total == 0)
		return;
	at = f->arg % total;
	if (at >= off && at - off < n)
		((unsigned char *)buf)[at - off] ^= 1;
}

uint64_t fault_length(const struct fault *f, uint64_t len)
{
	if (f->action != FAULT_SHORTEN)
		return len;
	return len - MIN(len, f->arg);
}

static int fault_sink_write(struct sink *sink, const void *buf, size_t n,
			    struct error **errp)
{
	struct fault_sink *s = (struct fault_sink *)sink;
	cleanup_free char *copy = NULL;
	int r;

	if (s->fault) {
		copy = xmemdup(buf, n);
		fault_flip(s->fault, copy, n, s->bytes, s->total);
		buf = copy;
	}
	r = s->inner->write(s->inner, buf, n, errp);
	if (r == 0)
		s->bytes += n;
	return r;
}

void fault_sink_init(struct fault_sink *s, struct sink *inner, uint64_t total,
		     const struct fault *fault)
{
	memset(s, 0, sizeof(*s));
	s->sink.write = fault_sink_write;
	s->inner = inner;
	s->total = total;
	s->fault = fault;
}

static int fault_feed_pread(struct feed *feed, void *buf, size_t n,
			    uint64_t off, struct error **errp)
{
	struct fault_feed *f = (struct fault_feed *)feed;
	int r = f->inner->pread(f->inner, buf, n, off, errp);

	if (r < 0)
		return r;
	if (f->fault)
		fault_flip(f->fault, buf, n, off, feed->size);
	f->bytes += n;
	return r;
}

void fault_feed_init(struct fault_feed *f, struct feed *inner,
		     const struct fault *fault)
{
	memset(f, 0, sizeof(*f));
	f->feed.size = fault ? fault_length(fault, inner->size) : inner->size;
	f->feed.pread = fault_feed_pread;
	f->inner = inner;
	f->fault = fault;
}
