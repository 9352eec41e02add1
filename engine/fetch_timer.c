/*
 * The fetcher's clock: deadlines of waiters, cancelled ones, parked runs,
 * requests that stall, and chores that are due.
 */
#include <errno.h>
#include <inttypes.h>

#include "engine/fetch_internal.h"

static void expire(struct fetch_waiter *w, int64_t now)
{
	struct fetcher *f = w->source->fetcher;
	cleanup_error struct error *err = NULL;
	int r = -ECANCELED;

	if (w->cancelled)
		error_set(&err, ECANCELED, "cancelled");
	else
		r = error_set(&err, ETIMEDOUT,
			      "'%s' was not delivered within %" PRId64 " s",
			      digest_to_str(&w->source->digest).str,
			      f->io_ms / 1000);
	fetch_waiter_finish_locked(w, r, err);
}

/* Demand that nobody waits for any more need not be fetched. */
static void drop_unwanted(struct fetch_source *s, uint32_t first, uint32_t end)
{
	struct fetch_run *run;

	for (run = TAILQ_FIRST(&s->runs); run; run = TAILQ_NEXT(run, by_source))
		if (run->class == FETCH_DEMAND && run->pos < end &&
		    first < run->end && TAILQ_EMPTY(&s->wholes) &&
		    !fetch_waited_for_locked(s, run->pos, run->end))
			atomic_store(&run->cancel, true);
}

/* Deadlines rise along the list; cancelled ones may be anywhere. */
static int64_t look_at_waiters(struct fetcher *f, int64_t now)
{
	struct fetch_waiter *w, *next;
	bool ordered = true;
	int64_t due = TIME_NEVER;

	for (w = TAILQ_FIRST(&f->by_time); w && (ordered || f->n_cancelled);
	     w = next) {
		next = TAILQ_NEXT(w, link);
		if (w->cancelled || w->deadline_ns <= now) {
			struct fetch_source *s = w->source;
			uint32_t first = w->first, end = w->end;

			expire(w, now);
			drop_unwanted(s, first, end);
		} else if (ordered) {
			due = w->deadline_ns;
			ordered = false;
		}
	}
	return due;
}

static int64_t look_at_parked(struct fetcher *f, int64_t now)
{
	struct fetch_run *run, *next;
	int64_t due = TIME_NEVER;

	for (run = TAILQ_FIRST(&f->parked); run; run = next) {
		next = TAILQ_NEXT(run, link);
		if (run->next_try_ns > now) {
			due = MIN(due, run->next_try_ns);
			continue;
		}
		TAILQ_REMOVE(&f->parked, run, link);
		fetch_run_enqueue_locked(run, true);
	}
	return due;
}

static int64_t look_at_dirty(struct fetcher *f, int64_t now)
{
	int64_t due = TIME_NEVER;

	for (struct fetch_source *s = TAILQ_FIRST(&f->dirty); s;
	     s = TAILQ_NEXT(s, dirty_link)) {
		int64_t at = s->want_seal
				     ? s->seal_at_ns
				     : s->unsynced_since_ns + FETCH_SYNC_NS;

		if (s->chore != FETCH_CHORE_NONE)
			continue; /* signals the timer when it ends */
		if (at <= now)
			fetch_chore_add_locked(s);
		else
			due = MIN(due, at);
	}
	return due;
}

void *fetch_timer_thread(void *arg)
{
	struct fetcher *f = arg;

	fetcher_lock(f);
	while (!f->closing) {
		int64_t now = time_mono_ns();
		int64_t due = look_at_waiters(f, now);

		due = MIN(due, look_at_parked(f, now));
		due = MIN(due, look_at_dirty(f, now));
		due = MIN(due, fetch_hedge_locked(f, now));
		f->timer_due_ns = due;
		if (!TAILQ_EMPTY(&f->told) || !TAILQ_EMPTY(&f->dead)) {
			fetcher_unlock(f);
			fetcher_lock(f);
			continue; /* things may have changed meanwhile */
		}
		if (due == TIME_NEVER)
			cond_wait(&f->timer, &f->lock);
		else
			cond_wait_until(&f->timer, &f->lock, due);
	}
	fetcher_unlock(f);
	return NULL;
}
