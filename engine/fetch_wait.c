/*
 * Waiters: who waits for which chunks, and failures that are remembered.
 */
#include <assert.h>
#include <errno.h>

#include "engine/fetch_internal.h"

static bool overlaps(const struct fetch_waiter *w, uint32_t first, uint32_t end)
{
	return w->first < end && first < w->end;
}

struct fetch_waiter *fetch_waiter_new_locked(struct fetch_source *s,
					     uint32_t first, uint32_t end,
					     fetch_done_fn done, void *ctx)
{
	struct fetcher *f = s->fetcher;
	struct fetch_waiter *w = xcalloc(1, sizeof(*w));

	w->ticket = ++f->next_ticket;
	w->source = fetch_source_ref_locked(s);
	w->first = first;
	w->end = end;
	w->deadline_ns = time_deadline_ms(f->io_ms);
	w->done = done;
	w->ctx = ctx;
	TAILQ_INSERT_TAIL(&s->waiters, w, by_source);
	TAILQ_INSERT_TAIL(&f->by_time, w, link);
	if (TAILQ_FIRST(&f->by_time) == w)
		cond_signal(&f->timer);
	atomic_fetch_add(&f->counted->waits, 1);
	return w;
}

/* Its callback is called by fetcher_unlock(). */
void fetch_waiter_finish_locked(struct fetch_waiter *w, int result,
				const struct error *err)
{
	struct fetcher *f = w->source->fetcher;

	TAILQ_REMOVE(&w->source->waiters, w, by_source);
	TAILQ_REMOVE(&f->by_time, w, link);
	f->n_cancelled -= w->cancelled;
	w->result = result;
	w->err = err ? error_copy(err) : NULL;
	TAILQ_INSERT_TAIL(&f->told, w, link);
	cond_broadcast(&f->answered);
	if (TAILQ_EMPTY(&f->by_time)) {
		f->held_since_ns = 0;
		if (!TAILQ_EMPTY(&f->background))
			cond_broadcast(&f->work);
	}
	if (result < 0)
		atomic_fetch_add(&f->counted->failed, 1);
}

/* True: every chunk is there. Those that nobody brings are asked for. */
static bool look_at(struct fetch_waiter *w)
{
	struct fetch_source *s = w->source;
	bool whole = true;

	for (uint32_t i = w->first; i < w->end; i++) {
		if (fetch_chunk_ready_locked(s, i))
			continue;
		whole = false;
		fetch_demand_locked(s, i);
	}
	return whole;
}

void fetch_waiters_look_locked(struct fetch_source *s, uint32_t first,
			       uint32_t end)
{
	struct fetch_waiter *w, *next;

	for (w = TAILQ_FIRST(&s->waiters); w; w = next) {
		next = TAILQ_NEXT(w, by_source);
		if (overlaps(w, first, end) && look_at(w))
			fetch_waiter_finish_locked(w, 0, NULL);
	}
}

static bool lacks(const struct fetch_waiter *w, uint32_t first, uint32_t end)
{
	for (uint32_t i = MAX(w->first, first); i < MIN(w->end, end); i++)
		if (!fetch_chunk_ready_locked(w->source, i))
			return true;
	return false;
}

void fetch_waiters_fail_locked(struct fetch_source *s, uint32_t first,
			       uint32_t end, int result,
			       const struct error *err)
{
	struct fetch_waiter *w, *next;

	for (w = TAILQ_FIRST(&s->waiters); w; w = next) {
		next = TAILQ_NEXT(w, by_source);
		if (overlaps(w, first, end) && lacks(w, first, end))
			fetch_waiter_finish_locked(w, result, err);
	}
}

bool fetch_waited_for_locked(struct fetch_source *s, uint32_t first,
			     uint32_t end)
{
	for (struct fetch_waiter *w = TAILQ_FIRST(&s->waiters); w;
	     w = TAILQ_NEXT(w, by_source))
		if (overlaps(w, first, end))
			return true;
	return false;
}

/* Forget the @n oldest. */
static void drop_failures(struct fetch_source *s, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		error_free(s->failures[i].err);
	s->n_failures -= n;
	memmove(s->failures, s->failures + n,
		s->n_failures * sizeof(*s->failures));
}

void fetch_failures_clear_locked(struct fetch_source *s)
{
	if (s->failures)
		drop_failures(s, s->n_failures);
	freep(&s->failures);
}

/* Failures are listed in the order in which they end. */
static void expire_failures(struct fetch_source *s)
{
	int64_t now = time_mono_ns();
	unsigned n = 0;

	while (n < s->n_failures && s->failures[n].until_ns <= now)
		n++;
	if (n == s->n_failures)
		fetch_failures_clear_locked(s);
	else if (n)
		drop_failures(s, n);
}

const struct error *fetch_failure_locked(struct fetch_source *s, uint32_t i)
{
	if (s->fault)
		return s->fault;
	if (s->failures)
		expire_failures(s);
	for (unsigned k = 0; s->failures && k < s->n_failures; k++)
		if (s->failures[k].first <= i && i < s->failures[k].end)
			return s->failures[k].err;
	return NULL;
}

void fetch_failure_add_locked(struct fetch_source *s, uint32_t first,
			      uint32_t end, const struct error *err)
{
	if (!s->failures)
		s->failures = xcalloc(FETCH_FAILURES_MAX, sizeof(*s->failures));
	assert(s->failures);
	if (s->n_failures == FETCH_FAILURES_MAX)
		drop_failures(s, 1);
	s->failures[s->n_failures++] = (struct fetch_failure){
		.first = first,
		.end = end,
		.until_ns = time_mono_ns() + FETCH_FAILURE_NS,
		.err = error_copy(err),
	};
}
