/*
 * Runs: what is queued, in which class, and what is read ahead.
 *
 * Demand goes first; chunks next to each other become one run. A reader that
 * goes on sequentially gets a window that doubles from 1 to 16 chunks; what the
 * window does not cover yet is asked in quarters of it, so that several
 * connections are busy at once. Tensors are read ahead whole (fetch_tensors.c).
 */
#include "engine/fetch_internal.h"

bool fetch_chunk_ready_locked(struct fetch_source *s, uint32_t i)
{
	struct fetch_key key;

	if (content_has(s->content, i))
		return true;
	key = fetch_chunk_key(s, i);
	return fetch_memory_has(s->fetcher->memory, &key);
}

struct fetch_run *fetch_run_covering_locked(struct fetch_source *s, uint32_t i)
{
	struct fetch_run *run;

	for (run = TAILQ_FIRST(&s->runs); run; run = TAILQ_NEXT(run, by_source))
		if (run->pos <= i && i < run->end)
			return run;
	return NULL;
}

struct fetch_run *fetch_run_new_locked(struct fetch_source *s, uint32_t first,
				       uint32_t end, enum fetch_class class)
{
	struct fetch_run *run = xcalloc(1, sizeof(*run));

	run->source = fetch_source_ref_locked(s);
	run->class = class;
	run->pos = first;
	run->end = end;
	atomic_init(&run->cancel, false);
	TAILQ_INSERT_TAIL(&s->runs, run, by_source);
	return run;
}

static struct fetch_runs *queue_of(struct fetch_run *run)
{
	struct fetcher *f = run->source->fetcher;

	if (run->state == FETCH_PARKED)
		return &f->parked;
	if (run->state == FETCH_FLYING)
		return &f->flying;
	if (run->second)
		return &f->seconds;
	if (run->class == FETCH_DEMAND)
		return &f->demand;
	if (run->class == FETCH_TENSOR)
		return &f->tensors;
	return run->class == FETCH_AHEAD ? &f->ahead : &f->background;
}

void fetch_run_enqueue_locked(struct fetch_run *run, bool front)
{
	struct fetcher *f = run->source->fetcher;

	run->state = FETCH_QUEUED;
	if (front)
		TAILQ_INSERT_HEAD(queue_of(run), run, link);
	else
		TAILQ_INSERT_TAIL(queue_of(run), run, link);
	cond_signal(&f->work);
}

void fetch_run_free_locked(struct fetch_run *run)
{
	struct fetch_source *s = run->source;

	TAILQ_REMOVE(&s->runs, run, by_source);
	fetch_line_gone_locked(run);
	free(run);
	fetch_source_unref_locked(s);
}

/* What a reader's chunk cut from the end of a line's run. */
static void continue_line(struct fetch_run *run, uint32_t i, uint32_t end)
{
	struct fetch_run *rest;

	if (!run->line || i == end)
		return;
	rest = fetch_run_new_locked(run->source, i, end, run->class);
	fetch_line_add_locked(run->line, rest);
	fetch_run_enqueue_locked(rest, true);
	if (run->state == FETCH_QUEUED) { /* in its line's order */
		TAILQ_REMOVE(queue_of(rest), rest, link);
		TAILQ_INSERT_AFTER(queue_of(run), run, rest, link);
	}
}

/* Cut @run there, and let the chunk have a request of its own. The rest of a
 * source that is wanted whole is carved again. */
static void cut(struct fetch_run *run, uint32_t i)
{
	struct fetch_source *s = run->source;

	if (run->state == FETCH_FLYING)
		content_unclaim(s->content, i, run->end - i);
	continue_line(run, i + 1, run->end);
	run->end = i;
	if (run->other) /* nor does a second request bring it */
		run->other->end = i;
	s->whole_next = MIN(s->whole_next, i);
	fetch_run_enqueue_locked(
		fetch_run_new_locked(s, i, i + 1, FETCH_DEMAND), false);
}

/* A reader wants a chunk of a run that was not made for it. A run of the
 * background that is queued or parked has none that a reader waits for. */
static void promote(struct fetch_run *run, uint32_t i)
{
	struct fetcher *f = run->source->fetcher;
	bool far = i - run->pos > FETCH_OVERTAKE;

	if (run->class == FETCH_DEMAND)
		return;
	if (run->state == FETCH_FLYING && !(run->started && far))
		return;
	if (run->state != FETCH_PARKED && far) {
		cut(run, i);
		return;
	}
	TAILQ_REMOVE(queue_of(run), run, link);
	run->class = FETCH_DEMAND;
	if (run->state == FETCH_PARKED) {
		TAILQ_INSERT_HEAD(&f->parked, run, link);
		run->next_try_ns = 0;
		cond_signal(&f->timer);
	} else {
		fetch_run_enqueue_locked(run, false);
	}
}

/* Make a queued demand run one chunk longer. */
static bool extend(struct fetch_source *s, uint32_t i)
{
	struct fetch_run *run;

	for (run = TAILQ_FIRST(&s->runs); run;
	     run = TAILQ_NEXT(run, by_source)) {
		if (run->state != FETCH_QUEUED || run->second ||
		    run->class != FETCH_DEMAND ||
		    run->end - run->pos >= FETCH_DEMAND_MAX)
			continue;
		if (run->end == i) {
			run->end++;
			return true;
		}
		if (run->pos == i + 1) {
			run->pos--;
			return true;
		}
	}
	return false;
}

void fetch_demand_locked(struct fetch_source *s, uint32_t i)
{
	struct fetch_run *run = fetch_run_covering_locked(s, i);

	if (run)
		promote(run, i);
	else if (!extend(s, i))
		fetch_run_enqueue_locked(
			fetch_run_new_locked(s, i, i + 1, FETCH_DEMAND), false);
}

void fetch_ahead_locked(struct fetch_source *s, uint32_t first, uint32_t end,
			uint32_t max, enum fetch_class class)
{
	struct fetch_run *run = NULL;

	for (uint32_t i = first; i < end; i++) {
		if (content_has(s->content, i) ||
		    fetch_run_covering_locked(s, i) ||
		    fetch_failure_locked(s, i)) {
			run = NULL;
		} else if (run && run->end - run->pos < max) {
			run->end++;
		} else {
			run = fetch_run_new_locked(s, i, i + 1, class);
			fetch_run_enqueue_locked(run, false);
		}
	}
}

static struct fetch_stream *stream_of(struct fetch_source *s, uint32_t first)
{
	struct fetch_stream *oldest = &s->streams[0];

	for (unsigned i = 0; i < FETCH_STREAMS; i++) {
		struct fetch_stream *st = &s->streams[i];

		if (st->used && first <= st->next && first + 1 >= st->next)
			return st;
		if (st->used < oldest->used)
			oldest = st;
	}
	oldest->used = 0;
	return oldest;
}

/* Somewhere to put it, and somewhere to get it. */
bool fetch_can_ahead_locked(const struct fetch_source *s)
{
	return !atomic_load(&s->fetcher->disk_full) && !s->fault &&
	       (s->kind == TREE_SOURCE_EXTERNAL ? s->stores != NULL
						: s->registry != NULL);
}

/* Chunks [first, end) were asked for or read: read ahead of who goes on. */
void fetch_note_locked(struct fetch_source *s, uint32_t first, uint32_t end)
{
	struct fetch_stream *st = stream_of(s, first);
	bool known = st->used != 0;

	st->used = ++s->stream_clock;
	if (!known) {
		st->next = st->asked = end;
		st->window = 0;
		return;
	}
	if (end <= st->next) /* the same chunk again */
		return;
	st->next = end;
	st->window = st->window ? MIN(st->window * 2, FETCH_AHEAD_MAX) : 1;
	if (!fetch_can_ahead_locked(s))
		return;

	uint32_t from = MAX(st->asked, end);
	uint32_t to = (uint32_t)MIN((uint64_t)end + st->window, s->n_chunks);
	uint32_t piece = MAX(st->window / 4, 1u);

	if (to <= from || (to - from < piece && to < s->n_chunks))
		return;
	fetch_ahead_locked(s, from, to, piece, FETCH_AHEAD);
	st->asked = to;
}
