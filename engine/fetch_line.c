/*
 * Lines: ranges in an order, in the background. Each becomes runs that wait in
 * a queue of their own until no reader does; whatever else becomes of a run (a
 * reader takes it over, another process has its claim, it is cut) it stays one of
 * its line's until it is gone.
 */
#include <errno.h>

#include "cache/cache.h"
#include "engine/fetch_internal.h"

struct fetch_line *fetch_line_new(struct fetcher *f)
{
	struct fetch_line *l = xcalloc(1, sizeof(*l));

	l->f = f;
	l->refs = 1;
	cond_init(&l->cond);
	fetcher_lock(f);
	LIST_INSERT_HEAD(&f->lines, l, link);
	fetcher_unlock(f);
	return l;
}

static void unref_locked(struct fetch_line *l)
{
	if (--l->refs)
		return;
	error_free(l->err);
	cond_destroy(&l->cond);
	free(l);
}

void fetch_line_add_locked(struct fetch_line *l, struct fetch_run *run)
{
	if (!l)
		return;
	run->line = l;
	l->refs++;
	l->runs++;
}

void fetch_line_gone_locked(struct fetch_run *run)
{
	struct fetch_line *l = run->line;

	if (!l)
		return;
	l->runs--;
	cond_signal(&l->cond);
	unref_locked(l);
}

void fetch_line_failed_locked(struct fetch_line *l, int result,
			      const struct error *err)
{
	if (!l || l->result)
		return;
	l->result = result;
	l->err = err ? error_copy(err) : NULL;
	cond_signal(&l->cond);
}

void fetch_lines_wake_locked(struct fetcher *f)
{
	struct fetch_line *l;

	for (l = LIST_FIRST(&f->lines); l; l = LIST_NEXT(l, link))
		cond_signal(&l->cond);
}

/* Until less than @runs are left. */
static int await_locked(struct fetch_line *l, unsigned runs,
			const struct op *op, struct error **errp)
	REQUIRES(l->f->lock);
static int await_locked(struct fetch_line *l, unsigned runs,
			const struct op *op, struct error **errp)
{
	for (;;) {
		int64_t now = time_mono_ns();

		if (l->f->closing || op_cancelled(op))
			return error_set(errp, ECANCELED, "cancelled");
		if (l->runs < runs)
			return 0;
		if (now >= op_deadline(op))
			return error_set(errp, ETIMEDOUT, "took too long");
		cond_wait_until(&l->cond, &l->f->lock,
				MIN(now + 50 * NS_PER_MS, op_deadline(op)));
	}
}

/* The first row of chunks of [*@pos, @end) that nobody has or brings. */
static struct fetch_run *next_run_locked(struct fetch_source *s, uint32_t *pos,
					 uint32_t end)
{
	struct fetch_run *run = NULL;

	for (; *pos < end; ++*pos) {
		bool wanted = !content_has(s->content, *pos) &&
			      !fetch_run_covering_locked(s, *pos);

		if (run && (!wanted || run->end - run->pos >= FETCH_PART_MAX))
			break;
		if (run)
			run->end++;
		else if (wanted)
			run = fetch_run_new_locked(s, *pos, *pos + 1,
						   FETCH_BACKGROUND);
	}
	return run;
}

static int put_locked(struct fetch_line *l, struct fetch_source *s,
		      uint32_t first, uint32_t end, const struct op *op,
		      struct error **errp) REQUIRES(l->f->lock);
static int put_locked(struct fetch_line *l, struct fetch_source *s,
		      uint32_t first, uint32_t end, const struct op *op,
		      struct error **errp)
{
	while (first < end) {
		struct fetch_run *run;
		int r = await_locked(l, FETCH_LINE_RUNS, op, errp);

		if (r < 0)
			return r;
		if (cache_is_unwritable(l->result))
			return error_set(errp, -l->result, "%s",
					 l->err ? l->err->message : "no room");
		if (s->fault) {
			fetch_line_failed_locked(l, -s->fault->code, s->fault);
			return 0;
		}
		run = next_run_locked(s, &first, end);
		if (!run)
			return 0;
		fetch_line_add_locked(l, run);
		fetch_run_enqueue_locked(run, false);
	}
	return 0;
}

int fetch_line_put(struct fetch_line *l, struct fetch_source *s, uint64_t off,
		   uint64_t len, const struct op *op, struct error **errp)
{
	int r;

	if (!len || off > s->size || len > s->size - off)
		return error_set(errp, EINVAL, "a range outside its source");
	fetcher_lock(l->f);
	r = put_locked(l, s, (uint32_t)(off / CHUNK_SIZE),
		       (uint32_t)((off + len - 1) / CHUNK_SIZE) + 1, op, errp);
	fetcher_unlock(l->f);
	return r;
}

int fetch_line_wait(struct fetch_line *l, const struct op *op,
		    struct error **errp)
{
	int r;

	fetcher_lock(l->f);
	r = await_locked(l, 1, op, errp);
	if (r == 0 && l->result) {
		r = l->result;
		error_propagate(errp, &l->err, r);
		l->result = 0;
	}
	fetcher_unlock(l->f);
	return r;
}

/* Of those that readers took over the class is another. */
static void drop_locked(struct fetch_line *l, struct fetch_runs *runs)
{
	struct fetch_run *run, *next;

	for (run = TAILQ_FIRST(runs); run; run = next) {
		struct fetch_source *s = run->source;

		next = TAILQ_NEXT(run, link);
		if (run->line != l || run->class != FETCH_BACKGROUND)
			continue;
		TAILQ_REMOVE(runs, run, link);
		fetch_source_ref_locked(s);
		fetch_run_free_locked(run);
		fetch_source_advance_locked(s);
		fetch_source_unref_locked(s);
	}
}

void fetch_line_free(struct fetch_line *l)
{
	struct fetcher *f = l->f;
	struct fetch_run *run;

	fetcher_lock(f);
	LIST_REMOVE(l, link);
	drop_locked(l, &f->background);
	drop_locked(l, &f->parked);
	for (run = TAILQ_FIRST(&f->flying); run; run = TAILQ_NEXT(run, link))
		if (run->line == l && run->class == FETCH_BACKGROUND &&
		    !fetch_waited_for_locked(run->source, run->pos, run->end))
			atomic_store(&run->cancel, true);
	unref_locked(l);
	fetcher_unlock(f);
}
