/*
 * Hedged requests: one that stalls is made a second time.
 *
 * A store answers a few requests much later than all others. How long requests
 * of late were silent says what is normal: whose silence is longer than nearly
 * all of those (their p99, not below 250 ms, not above what eight times their
 * median or 500 ms make) gets a *second* request for the chunks that it still
 * owes.
 *
 *   one has a whole, right chunk   it has the run from here on, the other is
 *                                  cancelled
 *   the first one cannot go on     the second has the run
 *   the second fails               nothing: there is the first
 *   the first is not wanted        neither is the second
 *
 * A store that is slow for everybody must not get twice the work: one request
 * may be hedged for each twenty that brought something, four on account,
 * two at a time. Nobody begins with any: of a hundred processes that start at
 * once each would take it.
 */
#include <assert.h>
#include <stdlib.h>

#include "engine/fetch_internal.h"

#define PACE_FIRST   (2 * NS_PER_S) /* until enough is known */
#define PACE_FEW     16
#define PACE_FLOOR   (250 * NS_PER_MS)
#define PACE_MEDIANS 8
#define PACE_CAP     (500 * NS_PER_MS) /* at least */
#define CREDIT_MAX   (4 * FETCH_HEDGE_COST)

static struct fetch_pace *pace_of(const struct fetch_source *s)
{
	return &s->fetcher->pace[s->kind == TREE_SOURCE_EXTERNAL];
}

static int by_length(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static int64_t pace_limit(const struct fetch_pace *p)
{
	int64_t sorted[FETCH_PACE], cap, limit;
	size_t n = MIN(p->n, (unsigned)FETCH_PACE);

	memcpy(sorted, p->silences_ns, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), by_length);
	cap = MAX(PACE_MEDIANS * sorted[n / 2], PACE_CAP);
	limit = MAX(sorted[n * 99 / 100], PACE_FLOOR);
	return MIN(limit, cap);
}

void fetch_pace_note_locked(const struct fetch_source *s, int64_t ns)
{
	struct fetcher *f = s->fetcher;
	struct fetch_pace *p = pace_of(s);

	p->silences_ns[p->n++ % FETCH_PACE] = ns;
	if (p->n == 2 * FETCH_PACE)
		p->n = FETCH_PACE;
	if (p->n % PACE_FEW == 0)
		p->limit_ns = pace_limit(p);
	f->hedge_credit = MIN(f->hedge_credit + 1, (unsigned)CREDIT_MAX);
}

static int64_t limit_of(const struct fetch_run *run)
{
	int64_t ns = pace_of(run->source)->limit_ns;

	return ns ? ns : PACE_FIRST;
}

void fetch_watch_locked(struct fetch_run *run)
{
	struct fetcher *f = run->source->fetcher;
	int64_t now = time_mono_ns();

	atomic_store(&run->silent_ns, now);
	if (f->timer_due_ns > now + limit_of(run))
		cond_signal(&f->timer);
}

/*
 * The race.
 */

/* Readers first, here, too. */
static bool may_hedge(const struct fetch_run *run)
{
	struct fetcher *f = run->source->fetcher;

	if (run->second || run->other || f->n_seconds >= FETCH_SECONDS_MAX ||
	    f->hedge_credit < FETCH_HEDGE_COST)
		return false;
	return run->class != FETCH_BACKGROUND || TAILQ_EMPTY(&f->by_time) ||
	       fetch_waited_for_locked(run->source, run->pos, run->end);
}

static void hedge(struct fetch_run *run)
{
	struct fetcher *f = run->source->fetcher;
	struct fetch_run *second = fetch_run_new_locked(run->source, run->pos,
							run->end, run->class);

	second->second = true;
	second->other = run;
	run->other = second;
	f->n_seconds++;
	f->hedge_credit -= FETCH_HEDGE_COST;
	atomic_fetch_add(&f->counted->hedged, 1);
	fetch_run_enqueue_locked(second, false);
}

static bool is_watched(const struct fetch_run *run)
{
	return run->started && run->pos < run->end &&
	       !atomic_load(&run->cancel);
}

int64_t fetch_hedge_locked(struct fetcher *f, int64_t now)
{
	int64_t due = TIME_NEVER;
	struct fetch_run *run;

	for (run = TAILQ_FIRST(&f->flying); run; run = TAILQ_NEXT(run, link)) {
		int64_t since = atomic_load(&run->silent_ns);
		int64_t limit = limit_of(run);

		if (!is_watched(run))
			continue;
		if (since && since + limit <= now && may_hedge(run))
			hedge(run);
		else if (since && since + limit > now)
			due = MIN(due, since + limit);
		else
			due = MIN(due, now + limit);
	}
	return due;
}

/* It does not get the run. */
static void drop(struct fetch_run *second)
{
	struct fetcher *f = second->source->fetcher;

	second->other = NULL;
	second->end = second->pos;
	atomic_store(&second->cancel, true);
	if (second->state != FETCH_QUEUED)
		return; /* its thread takes it away */
	TAILQ_REMOVE(&f->seconds, second, link);
	f->n_seconds--;
	fetch_run_free_locked(second);
}

/* The chunks that @run still owes become the second one's. */
static void hand_over(struct fetch_run *run, struct fetch_run *second)
{
	struct fetcher *f = run->source->fetcher;
	bool queued = second->state == FETCH_QUEUED;

	if (queued)
		TAILQ_REMOVE(&f->seconds, second, link);
	second->second = false;
	second->other = run->other = NULL;
	f->n_seconds--;
	second->end = run->end;
	second->class = run->class;
	fetch_line_add_locked(run->line, second);
	if (queued) { /* it takes a claim of its own */
		uint32_t end = MIN(run->claim_end, run->end);

		if (end > run->pos)
			content_unclaim(run->source->content, run->pos,
					end - run->pos);
		fetch_run_enqueue_locked(second, true);
	} else {
		second->claim_first = run->pos;
		second->claim_end = MIN(run->claim_end, run->end);
		f->n_low += run->low && !second->low;
		second->low |= run->low;
	}
	run->end = run->pos;
	atomic_store(&run->cancel, true);
}

bool fetch_race_won_locked(struct fetch_run *run)
{
	struct fetch_run *other = run->other;

	if (run->pos >= run->end)
		return false;
	if (!run->second) {
		run->other = NULL;
		if (other)
			drop(other);
		return true;
	}
	if (!other || atomic_load(&other->cancel) || other->pos >= other->end)
		return false;
	assert(run->pos == other->pos);
	hand_over(other, run);
	atomic_fetch_add(&run->source->fetcher->counted->hedged_won, 1);
	return true;
}

bool fetch_race_left_locked(struct fetch_run *run)
{
	if (run->second || !run->other || atomic_load(&run->cancel))
		return false;
	hand_over(run, run->other);
	return true;
}

void fetch_race_over_locked(struct fetch_run *run)
{
	struct fetcher *f = run->source->fetcher;
	struct fetch_run *other = run->other;

	run->other = NULL;
	if (run->second) {
		run->second = false;
		f->n_seconds--;
		run->end = run->pos;
		if (other)
			other->other = NULL;
	} else if (other) {
		drop(other);
	}
}
