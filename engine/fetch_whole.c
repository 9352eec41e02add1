/*
 * Whole sources: carved into big runs from front to back, then sealed.
 */
#include <errno.h>

#include "engine/fetch_internal.h"

static bool free_chunk(struct fetch_source *s, uint32_t i)
{
	return !content_has(s->content, i) && !fetch_run_covering_locked(s, i);
}

/* One request for all of a pack. A big file in parts: small enough that its front
 * is soon in one piece, which is hashed meanwhile, and smaller towards the end, so
 * that all threads come to it together. */
static uint32_t run_max(struct fetcher *f, const struct fetch_source *s)
{
	uint32_t left = s->n_chunks - s->whole_next;
	uint32_t share = left / (2 * f->max_low);

	if (s->n_chunks <= FETCH_WHOLE_MAX)
		return FETCH_WHOLE_MAX;
	return MIN(MAX(share, FETCH_PART_MIN), FETCH_PART_MAX);
}

static struct fetch_run *carve(struct fetcher *f, struct fetch_source *s)
{
	uint32_t i = s->whole_next, first, max = run_max(f, s);

	while (i < s->n_chunks && !free_chunk(s, i))
		i++;
	for (first = i; i < s->n_chunks && i - first < max; i++)
		if (!free_chunk(s, i))
			break;
	s->whole_next = i;
	return i > first ? fetch_run_new_locked(s, first, i, FETCH_BACKGROUND)
			 : NULL;
}

struct fetch_run *fetch_carve_locked(struct fetcher *f)
{
	struct fetch_source *s, *next;

	for (s = TAILQ_FIRST(&f->wholes); s; s = next) {
		next = TAILQ_NEXT(s, whole_link);
		while (!TAILQ_EMPTY(&s->wholes) &&
		       s->whole_next < s->n_chunks) {
			struct fetch_run *run = carve(f, s);

			if (run)
				return run;
			/* Others brought the rest: seal, or go round. */
			fetch_source_advance_locked(s);
		}
	}
	return NULL;
}

static void item_finish(struct fetch_whole_item *it, int result,
			const struct error *err)
{
	struct fetch_source *s = it->source;
	struct fetch_whole *wh = it->whole;

	TAILQ_REMOVE(&s->wholes, it, link);
	if (TAILQ_EMPTY(&s->wholes))
		TAILQ_REMOVE(&s->fetcher->wholes, s, whole_link);
	it->waiting = false;
	it->source = NULL;
	wh->pending--;
	if (result < 0 && !wh->result) {
		wh->result = result;
		wh->err = err ? error_copy(err) : NULL;
	}
	if (!wh->pending || wh->result)
		cond_signal(&wh->cond);
	fetch_source_unref_locked(s);
}

void fetch_whole_finish_locked(struct fetch_source *s, int result,
			       const struct error *err)
{
	fetch_source_ref_locked(s);
	while (!TAILQ_EMPTY(&s->wholes))
		item_finish(TAILQ_FIRST(&s->wholes), result, err);
	fetch_source_unref_locked(s);
}

/* Chunks are missing although the cursor is at the end: they were cut out of a
 * run, or found damaged. */
static void go_round(struct fetch_source *s)
{
	cleanup_error struct error *err = NULL;

	if (++s->rounds <= FETCH_ROUNDS_MAX) {
		s->whole_next = 0;
		cond_broadcast(&s->fetcher->work);
		return;
	}
	error_set(&err, EIO, "'%s' does not become whole in the cache",
		  digest_to_str(&s->digest).str);
	fetch_whole_finish_locked(s, -EIO, err);
}

void fetch_source_advance_locked(struct fetch_source *s)
{
	bool whole = !TAILQ_EMPTY(&s->wholes);
	bool there = content_have(s->content) == s->n_chunks;

	if (s->fetcher->closing)
		return;
	s->sealed = there && content_sealed(s->content);
	/* Another reader may have found it damaged, and taken it away. */
	if (there && !s->sealed)
		there = content_have(s->content) == s->n_chunks;
	if (s->sealed) {
		s->want_seal = false;
		if (whole)
			fetch_whole_finish_locked(s, 0, NULL);
	} else if (there) {
		if (s->seal_failed && !whole)
			return;
		s->want_seal = true;
		fetch_dirty_locked(s);
		fetch_chore_add_locked(s);
	} else if (whole && s->whole_next >= s->n_chunks &&
		   TAILQ_EMPTY(&s->runs)) {
		go_round(s);
	}
}

static void item_add(struct fetcher *f, struct fetch_whole *wh,
		     struct fetch_whole_item *it, struct fetch_source *s)
{
	it->whole = wh;
	it->source = fetch_source_ref_locked(s);
	it->waiting = true;
	wh->pending++;
	if (TAILQ_EMPTY(&s->wholes)) {
		TAILQ_INSERT_TAIL(&f->wholes, s, whole_link);
		s->whole_next = 0;
		s->rounds = 0;
		s->seal_failed = false;
	}
	TAILQ_INSERT_TAIL(&s->wholes, it, link);
	if (s->fault)
		fetch_whole_finish_locked(s, -s->fault->code, s->fault);
	else
		fetch_source_advance_locked(s);
}

/* Nobody wants the rest of these runs: end them. */
static void cancel_background(struct fetch_source *s)
{
	struct fetch_run *run;

	if (!TAILQ_EMPTY(&s->wholes))
		return;
	for (run = TAILQ_FIRST(&s->runs); run; run = TAILQ_NEXT(run, by_source))
		if (run->class == FETCH_BACKGROUND &&
		    !fetch_waited_for_locked(s, run->pos, run->end))
			atomic_store(&run->cancel, true);
}

static void item_drop(struct fetch_whole_item *it)
{
	struct fetch_source *s = it->source;

	if (!it->waiting)
		return;
	fetch_source_ref_locked(s);
	item_finish(it, 0, NULL);
	cancel_background(s);
	fetch_source_unref_locked(s);
}

static int bounded_wait(struct fetcher *f, struct fetch_whole *wh,
			const struct op *op, struct error **errp)
	REQUIRES(f->lock);
static int bounded_wait(struct fetcher *f, struct fetch_whole *wh,
			const struct op *op, struct error **errp)
{
	while (wh->pending && !wh->result) {
		int64_t now = time_mono_ns();

		if (f->closing || op_cancelled(op))
			return error_set(errp, ECANCELED, "cancelled");
		if (now >= op_deadline(op))
			return error_set(errp, ETIMEDOUT, "took too long");
		cond_wait_until(&wh->cond, &f->lock,
				MIN(now + 50 * NS_PER_MS, op_deadline(op)));
	}
	return 0;
}

static int whole_run(struct fetcher *f, struct fetch_source *const *sources,
		     size_t n, struct fetch_whole_item *items,
		     const struct op *op, struct error **errp)
{
	struct fetch_whole wh = {0};
	int r;

	cond_init(&wh.cond);
	fetcher_lock(f);
	for (size_t i = 0; i < n && !wh.result; i++)
		item_add(f, &wh, &items[i], sources[i]);
	cond_broadcast(&f->work);
	r = bounded_wait(f, &wh, op, errp);
	for (size_t i = 0; i < n; i++)
		item_drop(&items[i]);
	fetcher_unlock(f);
	cond_destroy(&wh.cond);
	if (r < 0) {
		error_free(wh.err);
		return r;
	}
	return wh.result ? error_propagate(errp, &wh.err, wh.result) : 0;
}

static bool all_sealed(struct fetch_source *const *sources, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!content_sealed(sources[i]->content))
			return false;
	return true;
}

int fetch_whole(struct fetcher *f, struct fetch_source *const *sources,
		size_t n, const struct op *op, struct error **errp)
{
	cleanup_free struct fetch_whole_item *items = NULL;
	int r = 0;

	if (!n)
		return 0;
	items = calloc(n, sizeof(*items));
	if (!items)
		return error_set_errno(errp, ENOMEM, "%zu sources", n);
	for (int i = 0; i < FETCH_ROUNDS_MAX; i++) {
		r = whole_run(f, sources, n, items, op, errp);
		/* Small ones were sealed in groups: the last group, too. */
		if (r >= 0)
			r = cache_sync(f->cache, errp);
		/* Of which one may have been removed while it waited. */
		if (r < 0 || all_sealed(sources, n))
			return r;
	}
	return error_set(errp, EIO,
			 "what is fetched does not stay in the cache");
}
