/*
 * The fetcher: made and ended, and asked.
 */
#include "engine/fetch.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "base/thread.h"
#include "engine/fetch_internal.h"
#include "storage/retry.h"

static void tell(struct fetch_waiter *w)
{
	struct fetcher *f = w->source->fetcher;

	w->done(w->ctx, w->result, w->err);
	error_free(w->err);
	fetcher_lock(f);
	fetch_source_unref_locked(w->source);
	fetcher_unlock(f);
	free(w);
}

void fetcher_unlock(struct fetcher *f)
{
	struct fetch_waiters told = TAILQ_HEAD_INITIALIZER(told);
	struct fetch_sources dead = TAILQ_HEAD_INITIALIZER(dead);
	struct fetch_waiter *w;
	struct fetch_source *s;

	TAILQ_CONCAT(&told, &f->told, link);
	TAILQ_CONCAT(&dead, &f->dead, dead);
	mutex_unlock(&f->lock);

	while ((w = TAILQ_FIRST(&told))) {
		TAILQ_REMOVE(&told, w, link);
		tell(w);
	}
	while ((s = TAILQ_FIRST(&dead))) {
		TAILQ_REMOVE(&dead, s, dead);
		fetch_source_destroy(s);
	}
}

static void init_lists(struct fetcher *f)
{
	TAILQ_INIT(&f->seconds);
	TAILQ_INIT(&f->demand);
	TAILQ_INIT(&f->ahead);
	TAILQ_INIT(&f->tensors);
	TAILQ_INIT(&f->background);
	TAILQ_INIT(&f->parked);
	TAILQ_INIT(&f->flying);
	TAILQ_INIT(&f->wholes);
	TAILQ_INIT(&f->chores);
	TAILQ_INIT(&f->dirty);
	TAILQ_INIT(&f->by_time);
	TAILQ_INIT(&f->told);
	TAILQ_INIT(&f->dead);
}

/* One of each is needed; with fewer of the others it is slower. */
static void start_threads(struct fetcher *f, unsigned n)
{
	int r = thread_start(&f->timer_thread, "fetch-timer",
			     fetch_timer_thread, f);

	if (r < 0)
		thread_lacking(r);
	f->threads = xcalloc(n, sizeof(*f->threads));
	while (f->n_threads < n) {
		r = thread_start(&f->threads[f->n_threads], "fetch",
				 fetch_thread, f);
		if (r < 0)
			break;
		f->n_threads++;
	}
	if (!f->n_threads)
		thread_lacking(r);
}

struct fetcher *fetcher_new(const struct fetcher_options *o)
{
	struct fetcher *f = xcalloc(1, sizeof(*f));

	mutex_init(&f->lock, LOCK_FETCH);
	mutex_init(&f->header, LOCK_HEADER);
	cond_init(&f->work);
	cond_init(&f->timer);
	cond_init(&f->answered);
	init_lists(f);
	f->refs = 1;
	f->counted = &f->own;
	f->cache = o->cache;
	f->memory = fetch_memory_new(o->memory ? o->memory : 64u << 20);
	f->io_ms = o->io_ms > 0 ? o->io_ms : RETRY_TIMES_DEFAULT.io_ms;
	f->max_low = o->threads ? o->threads : FETCH_THREADS;
	start_threads(f, f->max_low + FETCH_EXTRA);
	return f;
}

void fetcher_unref(struct fetcher *f)
{
	mutex_lock(&f->lock);
	bool last = --f->refs == 0;
	mutex_unlock(&f->lock);
	if (!last)
		return;
	fetch_memory_free(f->memory);
	map_release(&f->sources);
	map_release(&f->grids);
	cond_destroy(&f->work);
	cond_destroy(&f->timer);
	cond_destroy(&f->answered);
	mutex_destroy(&f->lock);
	mutex_destroy(&f->header);
	free(f->threads);
	free(f);
}

static void free_runs_locked(struct fetch_runs *runs)
{
	struct fetch_run *run;

	while ((run = TAILQ_FIRST(runs))) {
		TAILQ_REMOVE(runs, run, link);
		fetch_run_free_locked(run);
	}
}

/* The threads are gone: nothing moves but what other callers still do. */
static void sweep_locked(struct fetcher *f)
{
	cleanup_error struct error *err = NULL;
	struct fetch_waiter *w;
	struct fetch_source *s;
	size_t pos = 0;
	void *v;

	error_set(&err, ECANCELED, "ending");
	free_runs_locked(&f->seconds);
	free_runs_locked(&f->demand);
	free_runs_locked(&f->ahead);
	free_runs_locked(&f->tensors);
	free_runs_locked(&f->background);
	free_runs_locked(&f->parked);
	while ((s = TAILQ_FIRST(&f->chores))) {
		TAILQ_REMOVE(&f->chores, s, chore_link);
		s->chore = FETCH_CHORE_NONE;
		fetch_source_unref_locked(s);
	}
	while ((w = TAILQ_FIRST(&f->by_time)))
		fetch_waiter_finish_locked(w, -ECANCELED, err);
	/* Closed already, and kept only until their bytes are durable. */
	while (map_next(&f->sources, &pos, NULL, NULL, &v)) {
		s = v;
		if (s->refs)
			continue;
		fetch_source_ref_locked(s);
		fetch_source_unref_locked(s);
		pos = 0;
	}
}

static void stop_locked(struct fetcher *f)
{
	struct fetch_run *run;
	struct fetch_source *s;
	struct fetch_whole_item *it;

	f->closing = true;
	for (run = TAILQ_FIRST(&f->flying); run; run = TAILQ_NEXT(run, link))
		atomic_store(&run->cancel, true);
	for (s = TAILQ_FIRST(&f->wholes); s; s = TAILQ_NEXT(s, whole_link))
		for (it = TAILQ_FIRST(&s->wholes); it;
		     it = TAILQ_NEXT(it, link))
			cond_signal(&it->whole->cond);
	fetch_lines_wake_locked(f);
	cond_broadcast(&f->work);
	cond_broadcast(&f->timer);
	cond_broadcast(&f->answered);
}

void fetcher_free(struct fetcher *f)
{
	if (!f)
		return;
	fetcher_lock(f);
	stop_locked(f);
	fetcher_unlock(f);
	for (unsigned i = 0; i < f->n_threads; i++)
		pthread_join(f->threads[i], NULL);
	pthread_join(f->timer_thread, NULL);
	fetcher_lock(f);
	sweep_locked(f);
	fetcher_unlock(f);
	fetcher_unref(f);
}

/*
 * Asking for what is not.
 */

static uint64_t refuse(struct fetcher *f, fetch_done_fn done, void *ctx, int r,
		       const struct error *err)
{
	if (r < 0)
		atomic_fetch_add(&f->counted->failed, 1);
	done(ctx, r, err);
	return 0;
}

/* 1: something is missing; 0: nothing; < 0: it failed a moment ago. */
static int missing_locked(struct fetch_source *s, uint32_t first, uint32_t end,
			  struct error **errp)
{
	int missing = 0;

	for (uint32_t i = first; i < end; i++) {
		const struct error *why;

		if (fetch_chunk_ready_locked(s, i))
			continue;
		missing = 1;
		why = fetch_failure_locked(s, i);
		if (why) {
			*errp = error_copy(why);
			return -why->code;
		}
	}
	return missing;
}

static uint64_t wait_locked(const struct fetch_range *r, uint32_t first,
			    uint32_t end, fetch_done_fn done, void *ctx)
{
	struct fetch_source *s = r->source;
	uint64_t ticket =
		fetch_waiter_new_locked(s, first, end, done, ctx)->ticket;

	/* Another process may have brought them in this very moment. */
	fetch_waiters_look_locked(s, first, end);
	if (!r->apart) {
		fetch_note_locked(s, first, end);
		fetch_tensors_ahead_locked(s, r->off, r->len);
	}
	return ticket;
}

uint64_t fetch_ask(struct fetcher *f, const struct fetch_range *r,
		   fetch_done_fn done, void *ctx)
{
	cleanup_error struct error *err = NULL;
	uint64_t ticket = 0;
	uint32_t first, end;
	int n = fetch_range_check(r, &err);

	if (n < 0)
		return refuse(f, done, ctx, n, err);
	fetch_range_chunks(r, &first, &end);
	fetcher_lock(f);
	if (f->closing)
		n = error_set(&err, ECANCELED, "ending");
	else
		n = missing_locked(r->source, first, end, &err);
	if (n == 1)
		ticket = wait_locked(r, first, end, done, ctx);
	fetcher_unlock(f);
	return n == 1 ? ticket : refuse(f, done, ctx, n, err);
}

void fetch_cancel(struct fetcher *f, uint64_t ticket)
{
	struct fetch_waiter *w;

	if (!ticket)
		return;
	fetcher_lock(f);
	w = TAILQ_FIRST(&f->by_time);
	while (w && w->ticket != ticket)
		w = TAILQ_NEXT(w, link);
	if (w && !w->cancelled) {
		w->cancelled = true;
		f->n_cancelled++;
		cond_signal(&f->timer);
	}
	fetcher_unlock(f);
}

void fetcher_count_in(struct fetcher *f, struct fetch_counters *counters)
{
	fetcher_lock(f);
	f->counted = counters;
	fetcher_unlock(f);
}

void fetcher_stats(struct fetcher *f, struct fetch_stats *ret)
{
	*ret = (struct fetch_stats){
		.requests = atomic_load(&f->counted->requests),
		.bytes_network = atomic_load(&f->counted->bytes_network),
		.bytes_cache = atomic_load(&f->counted->bytes_cache),
		.chunks_bad = atomic_load(&f->counted->bad),
		.waits = atomic_load(&f->counted->waits),
		.failures = atomic_load(&f->counted->failed),
		.in_flight = atomic_load(&f->in_flight),
		.tensors = atomic_load(&f->counted->tensors),
		.hedged = atomic_load(&f->counted->hedged),
		.hedged_won = atomic_load(&f->counted->hedged_won),
	};
}
