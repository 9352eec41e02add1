/*
 * One run: claim it among the processes of the cache, fetch it with one
 * request, verify and store each chunk as it is full, tell who waits for it.
 *
 *   claimed elsewhere      park; the timer tries again, and after 20 s without
 *                          a new chunk the run is fetched without a claim
 *   being sealed elsewhere the same, in the background; readers are served
 *                          from memory
 *   a chunk is wrong       one new request from that chunk on; wrong again: it
 *                          fails, and the run goes on behind it
 *   the stream ends early, one new request; again without a whole chunk in
 *   the object changed     between: the rest fails
 *   nothing comes          a second request for the same (fetch_hedge.c)
 *   the store gives up     the rest fails (it has retried for long enough)
 *   the disk is full       readers are served from memory; background fails
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "base/log.h"
#include "engine/fetch_internal.h"

/* A run while a thread has it. */
struct flight {
	struct sink sink; /* first */
	struct fetcher *f;
	struct fetch_source *s;
	struct fetch_run *run;
	struct fetch_buf *buf; /* the chunk that is being filled */
	uint32_t chunk, fill;  /* which one, how far */
	bool wrong;            /* it arrived wrong */
	bool retried;          /* a new request was made ... */
	uint32_t retried_at;   /* ... from this chunk on */
	bool background;       /* nobody waits for the current chunk */
	bool unkept;           /* background: the cache cannot keep it */
	bool busy;             /* background: ... now, as it is being sealed */
	bool over;             /* the last chunk wanted is there */
	int64_t longest_ns;    /* silence of this request */
};

/* The chunk could not be stored: keep it in memory, if it is the right one. */
static int keep_in_memory(struct flight *fl, int why, struct error **errp)
{
	struct fetch_key want = fetch_chunk_key(fl->s, fl->chunk);
	struct digest got = digest_of_buf(fl->buf->data, fl->buf->len);

	if (!digest_equal(&got, &want.digest))
		return error_set(errp, EBADMSG, "a chunk arrived wrong");
	if (fl->background && why == -EAGAIN) {
		fl->busy = true;
		return error_set(errp, EAGAIN, "the content is being sealed");
	}
	if (fl->background) {
		fl->unkept = true;
		return error_set(errp, ENOSPC, "writing to the cache: %s",
				 strerror(-why));
	}
	if (why != -EAGAIN && !atomic_exchange(&fl->f->disk_full, true))
		log_debug("cache cannot be written (%s): serving from memory",
			  strerror(-why));
	return 0;
}

static int store_chunk(struct flight *fl, struct error **errp)
{
	struct fetch_key key = fetch_chunk_key(fl->s, fl->chunk);
	cleanup_error struct error *err = NULL;
	int r = content_put(fl->s->content, fl->chunk, fl->buf->data,
			    fl->buf->len, &err);

	if (r < 0 && r != -EBADMSG) {
		error_freep(&err);
		r = keep_in_memory(fl, r, &err);
	} else if (r >= 0 && atomic_load(&fl->f->disk_full)) {
		atomic_store(&fl->f->disk_full, false); /* room again */
	}
	if (r == -EBADMSG) {
		fl->wrong = true;
		atomic_fetch_add(&fl->f->counted->bad, 1);
	}
	if (r < 0)
		return error_propagate(errp, &err, r);
	if (!fl->background)
		fetch_memory_put(fl->f->memory, &key, fl->buf);
	return 0;
}

/* Readers first: while those who wait now do, and not for this run, it takes
 * nothing from the network. The sender notices when the buffers are full. */
static void yield_locked(struct fetcher *f, struct flight *fl)
	REQUIRES(f->lock);
static void yield_locked(struct fetcher *f, struct flight *fl)
{
	struct fetch_run *run = fl->run;
	uint64_t last = f->next_ticket;
	int64_t until_ns = time_mono_ns() + FETCH_YIELD_NS;
	struct fetch_waiter *w;

	while (run->class == FETCH_BACKGROUND && !f->closing &&
	       !atomic_load(&run->cancel) && run->pos < run->end &&
	       (w = TAILQ_FIRST(&f->by_time)) && w->ticket <= last &&
	       !fetch_waited_for_locked(fl->s, run->pos, run->end) &&
	       cond_wait_until(&f->answered, &f->lock, until_ns))
		;
}

/* A chunk is full: verify, store, tell. */
static int chunk_done(struct flight *fl, struct error **errp)
{
	struct fetch_source *s = fl->s;
	struct fetch_run *run = fl->run;
	struct fetcher *f = fl->f;
	uint32_t len = fl->buf->len;

	fetcher_lock(f);
	fl->background = run->class == FETCH_BACKGROUND &&
			 !fetch_waited_for_locked(s, fl->chunk, fl->chunk + 1);
	fetcher_unlock(f);
	int r = store_chunk(fl, errp);
	if (r < 0)
		return r;
	fetcher_lock(f);
	fl->over = !fetch_race_won_locked(run);
	if (!fl->over) {
		atomic_fetch_add(&f->counted->bytes_network, len);
		fetch_put_noted_locked(s, len);
		run->pos = ++fl->chunk;
		fetch_waiters_look_locked(s, fl->chunk - 1, fl->chunk);
		fl->over = run->pos >= run->end;
	}
	fetcher_unlock(f); /* whoever waited for it is told */
	fetcher_lock(f);
	yield_locked(f, fl);
	fetcher_unlock(f);
	fetch_buf_unrefp(&fl->buf);
	fl->fill = 0;
	return 0;
}

static int take(struct flight *fl, const void *p, size_t n, struct error **errp)
{
	const unsigned char *at = p;

	while (n) {
		if (fl->over) /* the run was cut short */
			return error_set(errp, ECANCELED, "enough");
		if (!fl->buf)
			fl->buf = fetch_buf_new(
				chunk_len(fl->s->size, fl->chunk));
		if (!fl->buf)
			return error_set_errno(errp, ENOMEM, "a chunk buffer");

		size_t part = MIN(n, (size_t)(fl->buf->len - fl->fill));

		memcpy(fl->buf->data + fl->fill, at, part);
		fl->fill += (uint32_t)part;
		at += part;
		n -= part;
		if (fl->fill < fl->buf->len)
			continue;
		int r = chunk_done(fl, errp);
		if (r < 0)
			return r;
	}
	return 0;
}

/* What is ours to do with the bytes is no silence of the store. */
static int flight_write(struct sink *sink, const void *p, size_t n,
			struct error **errp)
{
	struct flight *fl = (struct flight *)sink;
	struct fetch_run *run = fl->run;
	int64_t since = atomic_exchange(&run->silent_ns, 0);

	fl->longest_ns = MAX(fl->longest_ns, time_mono_ns() - since);
	int r = take(fl, p, n, errp);
	atomic_store(&run->silent_ns, time_mono_ns());
	return r;
}

/* One request for what is left of the run. */
static int attempt(struct flight *fl, uint32_t end, struct error **errp)
{
	struct op op = OP_INIT;
	uint64_t off = (uint64_t)fl->chunk * CHUNK_SIZE;
	uint64_t to = MIN((uint64_t)end * CHUNK_SIZE, fl->s->size);

	op.cancelled = &fl->run->cancel;
	fetch_buf_unrefp(&fl->buf);
	fl->fill = 0;
	fl->wrong = false;
	fl->longest_ns = 0;
	fetcher_lock(fl->f);
	fetch_watch_locked(fl->run);
	fetcher_unlock(fl->f);
	int r = fetch_source_pull(fl->s, off, to - off, &fl->sink, &op, errp);
	atomic_store(&fl->run->silent_ns, 0);
	if ((uint64_t)fl->chunk * CHUNK_SIZE > off &&
	    !atomic_load(&fl->run->cancel)) {
		fetcher_lock(fl->f);
		fetch_pace_note_locked(fl->s, fl->longest_ns);
		fetcher_unlock(fl->f);
	}
	return r;
}

/* [first, end) will not come. */
static void fail(struct flight *fl, uint32_t first, uint32_t end, int r,
		 struct error **errp)
{
	struct fetcher *f = fl->f;

	log_debug("chunks %" PRIu32 " to %" PRIu32 " of '%s': %s", first,
		  end - 1, digest_to_str(&fl->s->digest).str,
		  *errp ? (*errp)->message : "failed");
	fetcher_lock(f);
	/* A full disk is no reason for a reader to fail: he asks again. */
	if (!fl->unkept) {
		fetch_failure_add_locked(fl->s, first, end, *errp);
		fl->run->pos = MAX(fl->run->pos, end);
		fetch_waiters_fail_locked(fl->s, first, end, r, *errp);
	}
	fetch_whole_finish_locked(fl->s, r, *errp);
	fetch_line_failed_locked(fl->run->line, r, *errp);
	fetcher_unlock(f);
	error_freep(errp);
}

/* Twice wrong. An external that differs has drifted. */
static void fail_wrong(struct flight *fl, struct error **errp)
{
	struct fetch_source *s = fl->s;
	bool external = s->kind == TREE_SOURCE_EXTERNAL;
	uint32_t bad = fl->chunk;
	int code = external ? ESTALE : EBADMSG;

	error_freep(errp);
	error_set_kind(errp, ERROR_VALIDATION, code,
		       "chunk %" PRIu32 " of '%s'%s%s arrived wrong twice", bad,
		       digest_to_str(&s->digest).str, external ? " at " : "",
		       external ? s->uri : "");
	fl->chunk++;
	fail(fl, bad, bad + 1, -code, errp);
}

/* What a failed inner read means to a reader: the bundle names the bytes, so
 * that they are not there is trouble of the store. */
static int as_read_error(struct flight *fl, int r, struct error **errp)
{
	if (r == -ENOENT) {
		if (*errp)
			(*errp)->code = EIO;
		error_kind(errp, r, ERROR_DOWNLOAD);
		r = -EIO;
	}
	return error_prefix(errp, r, "reading '%s'",
			    digest_to_str(&fl->s->digest).str);
}

/* May the rest be asked for once more, with a new request? */
static bool once_more(struct flight *fl, int r)
{
	bool worth = fl->wrong || r == 0 || r == -ESTALE;

	if (!worth || (fl->retried && fl->retried_at == fl->chunk))
		return false;
	fl->retried = true;
	fl->retried_at = fl->chunk;
	return true;
}

static bool wanted(struct flight *fl, uint32_t *ret_end)
{
	fetcher_lock(fl->f);
	*ret_end = fl->run->end;
	bool more = fl->chunk < fl->run->end;
	fetcher_unlock(fl->f);
	return more;
}

/* The first one says what becomes of the run: it is not left to us any more. */
static bool second_gives_up(struct flight *fl)
{
	fetcher_lock(fl->f);
	bool second = fl->run->second;
	if (second)
		fetch_race_over_locked(fl->run);
	fetcher_unlock(fl->f);
	return second;
}

static bool left_to_the_other(struct flight *fl)
{
	fetcher_lock(fl->f);
	bool left = fetch_race_left_locked(fl->run);
	fetcher_unlock(fl->f);
	return left;
}

static void transfer(struct flight *fl)
{
	uint32_t end;

	while (wanted(fl, &end)) {
		cleanup_error struct error *err = NULL;
		int r = attempt(fl, end, &err);

		if (!wanted(fl, &end)) /* all there, or cut short */
			break;
		if (atomic_load(&fl->run->cancel))
			break; /* who waits by now asks again */
		if (second_gives_up(fl))
			break;
		if (fl->busy && ++fl->run->refused > FETCH_REFUSED_MAX) {
			fl->busy = false;
			fl->unkept = true;
			error_freep(&err);
			r = error_set(&err, EIO,
				      "the cache does not take its chunks");
		}
		if (fl->busy)
			break; /* parked, and then asked for again */
		if (once_more(fl, r))
			continue;
		if (left_to_the_other(fl))
			break;
		if (fl->wrong) {
			fail_wrong(fl, &err);
			continue;
		}
		if (r >= 0)
			r = error_set(&err, EIO, "the data ended early");
		r = as_read_error(fl, r, &err);
		fail(fl, fl->chunk, end, r, &err);
		break;
	}
	fetch_buf_unrefp(&fl->buf);
}

/*
 * Before the request: what came from elsewhere is not asked for again. Keeps
 * the first row of missing chunks; what lies behind it becomes a run of its
 * own. True: something is left.
 */
static bool have(const struct fetch_run *run, uint32_t i)
{
	/* What is in memory alone does not make a source whole. */
	return run->class == FETCH_BACKGROUND
		       ? content_has(run->source->content, i)
		       : fetch_chunk_ready_locked(run->source, i);
}

static bool trim_locked(struct fetch_run *run)
{
	struct fetch_source *s = run->source;
	uint32_t from = run->pos, end = run->end, i;

	while (run->pos < end && have(run, run->pos))
		run->pos++;
	for (i = run->pos; i < end && !have(run, i); i++)
		;
	run->end = i;
	while (i < end && have(run, i))
		i++;
	if (i < end) {
		struct fetch_run *rest =
			fetch_run_new_locked(s, i, end, run->class);

		fetch_line_add_locked(run->line, rest);
		fetch_run_enqueue_locked(rest, true);
	}
	if (run->pos > from)
		run->alone_ns = 0; /* its holder is making progress */
	fetch_waiters_look_locked(s, from, end);
	return run->pos < run->end;
}

static bool trim(struct flight *fl)
{
	fetcher_lock(fl->f);
	bool left = trim_locked(fl->run);
	fetcher_unlock(fl->f);
	return left;
}

/* Try again in 2 ms, then 4, … 50. */
static void park_locked(struct fetcher *f, struct fetch_run *run)
{
	run->pause_ns = run->pause_ns ? MIN(run->pause_ns * 2, 50 * NS_PER_MS)
				      : 2 * NS_PER_MS;
	run->next_try_ns = time_mono_ns() + run->pause_ns;
	run->started = false;
	run->state = FETCH_PARKED;
	TAILQ_INSERT_TAIL(&f->parked, run, link);
	cond_signal(&f->timer);
	/* Who asked while it was flying left it as it was. */
	fetch_waiters_look_locked(run->source, run->pos, run->end);
}

/* Its claim is another process's: for so long. */
static void claimed_elsewhere_locked(struct fetch_run *run)
{
	int64_t now = time_mono_ns();

	if (!run->alone_ns)
		run->alone_ns = now + FETCH_CLAIM_NS;
	run->alone = now >= run->alone_ns;
}

static bool busy_elsewhere(const struct flight *fl)
{
	return fl->run->class == FETCH_BACKGROUND &&
	       content_busy(fl->s->content);
}

/* True: go on. Another process's work is waited for in the parking place, not
 * on a thread. */
static bool claim(struct flight *fl, bool *ret_elsewhere)
{
	struct fetch_run *run = fl->run;
	uint32_t first = run->pos, end = run->end;
	int r = run->alone
			? -ETIMEDOUT
			: content_claim(fl->s->content, first, end - first, 0);

	*ret_elsewhere = !run->alone && r == -ETIMEDOUT;
	if (*ret_elsewhere)
		return false;
	if (r == 0) {
		run->claim_first = first;
		run->claim_end = end;
	}
	/* Else without: nobody else has them, or there can be no claims. */
	if (!trim(fl))
		return false;
	if (r == 0 && run->end < end) {
		content_unclaim(fl->s->content, run->end, end - run->end);
		run->claim_end = run->end;
	}
	return true;
}

static void unclaim(struct flight *fl)
{
	struct fetch_run *run = fl->run;
	uint32_t end;

	fetcher_lock(fl->f);
	fetch_race_over_locked(run); /* none gives it a claim any more */
	/* Cut short: whoever cut gave up the claim on the rest, or has it. */
	end = MIN(run->claim_end, run->end);
	run->claim_end = 0;
	fetcher_unlock(fl->f);
	if (run->claim_first < end)
		content_unclaim(fl->s->content, run->claim_first,
				end - run->claim_first);
}

static void start(struct flight *fl)
{
	fetcher_lock(fl->f);
	fl->run->started = true;
	fl->chunk = fl->run->pos;
	/* Who asked while it could not be cut. */
	fetch_waiters_look_locked(fl->s, fl->run->pos, fl->run->end);
	fetcher_unlock(fl->f);
	atomic_fetch_add(&fl->f->in_flight, 1);
	transfer(fl);
	atomic_fetch_sub(&fl->f->in_flight, 1);
}

/* The run is over. Chunks that it did not bring and did not fail are asked for
 * again by those who wait for them. */
static void land_locked(struct fetcher *f, struct fetch_run *run)
{
	struct fetch_source *s = fetch_source_ref_locked(run->source);
	uint32_t pos = run->pos, end = run->end;

	fetch_run_free_locked(run);
	if (pos < end && !f->closing)
		fetch_waiters_look_locked(s, pos, end);
	fetch_source_advance_locked(s);
	fetch_source_unref_locked(s);
}

/* A second request has no claim: the first one's is good for both. It may have
 * been given that already. */
static bool needs_claim(struct flight *fl)
{
	fetcher_lock(fl->f);
	bool needs = !fl->run->second && !fl->run->claim_end;
	fetcher_unlock(fl->f);
	return needs;
}

static bool may_start(struct flight *fl, bool *ret_claimed)
{
	if (atomic_load(&fl->run->cancel))
		return false;
	if (!needs_claim(fl))
		return true;
	if (!trim(fl))
		return false;
	fl->busy = busy_elsewhere(fl);
	return !fl->busy && claim(fl, ret_claimed);
}

static void fly(struct fetcher *f, struct fetch_run *run)
{
	struct flight fl = {
		.sink.write = flight_write,
		.f = f,
		.s = run->source,
		.run = run,
	};
	bool claimed = false;

	if (may_start(&fl, &claimed))
		start(&fl);
	unclaim(&fl);
	fetcher_lock(f);
	TAILQ_REMOVE(&f->flying, run, link);
	if (run->low) {
		run->low = false;
		f->n_low--;
		cond_signal(&f->work);
	}
	if (claimed)
		claimed_elsewhere_locked(run);
	if ((claimed || fl.busy) && run->pos < run->end && !f->closing &&
	    !atomic_load(&run->cancel))
		park_locked(f, run);
	else
		land_locked(f, run);
	fetcher_unlock(f);
}

/*
 * The threads. Read-ahead, background and chores never take the last ones.
 */

struct job {
	struct fetch_run *run;
	struct fetch_source *chore;
	bool low;
};

/* Readers first: none of the background begins while some wait, or one of it
 * each half second. */
static bool held_back_locked(struct fetcher *f)
{
	int64_t now = time_mono_ns();

	if (TAILQ_EMPTY(&f->by_time))
		return false;
	if (f->held_since_ns && now - f->held_since_ns < FETCH_YIELD_NS)
		return true;
	if (!f->held_since_ns) {
		f->held_since_ns = now;
		return true;
	}
	f->held_since_ns = now;
	return false;
}

/* Tensors are long: some threads are left to those who read on. */
static bool tensors_may_fly_locked(struct fetcher *f)
{
	unsigned n = FETCH_TENSOR_SPARE;
	struct fetch_run *run;

	for (run = TAILQ_FIRST(&f->flying); run; run = TAILQ_NEXT(run, link))
		n += run->class == FETCH_TENSOR;
	return n == FETCH_TENSOR_SPARE || n < f->max_low;
}

static bool pick_low_locked(struct fetcher *f, struct job *j)
{
	j->low = true;
	if ((j->run = TAILQ_FIRST(&f->ahead))) {
		TAILQ_REMOVE(&f->ahead, j->run, link);
		return true;
	}
	if (!TAILQ_EMPTY(&f->tensors) && tensors_may_fly_locked(f)) {
		j->run = TAILQ_FIRST(&f->tensors);
		TAILQ_REMOVE(&f->tensors, j->run, link);
		return true;
	}
	/* A line may be long: what it completed is sealed meanwhile. */
	if (TAILQ_EMPTY(&f->chores) && !TAILQ_EMPTY(&f->background) &&
	    !held_back_locked(f)) {
		j->run = TAILQ_FIRST(&f->background);
		TAILQ_REMOVE(&f->background, j->run, link);
		return true;
	}
	/* Carving may find that there is nothing left but to seal. */
	if (TAILQ_EMPTY(&f->chores) && (j->run = fetch_carve_locked(f)))
		return true;
	if ((j->chore = TAILQ_FIRST(&f->chores))) {
		TAILQ_REMOVE(&f->chores, j->chore, chore_link);
		j->chore->chore = FETCH_CHORE_RUNNING;
	}
	return j->chore != NULL;
}

/* A second request that no reader waits for takes no thread of theirs. */
static bool pick_second_locked(struct fetcher *f, struct job *j)
{
	struct fetch_run *run;

	for (run = TAILQ_FIRST(&f->seconds); run; run = TAILQ_NEXT(run, link)) {
		bool low = run->class != FETCH_DEMAND &&
			   !fetch_waited_for_locked(run->source, run->pos,
						    run->end);

		if (low && f->n_low >= f->max_low)
			continue;
		TAILQ_REMOVE(&f->seconds, run, link);
		j->run = run;
		j->low = low;
		return true;
	}
	return false;
}

static bool pick_locked(struct fetcher *f, struct job *j)
{
	*j = (struct job){0};
	if (pick_second_locked(f, j))
		;
	else if ((j->run = TAILQ_FIRST(&f->demand)))
		TAILQ_REMOVE(&f->demand, j->run, link);
	else if (f->n_low >= f->max_low || !pick_low_locked(f, j))
		return false;
	if (j->run) {
		j->run->state = FETCH_FLYING;
		j->run->low = j->low;
		TAILQ_INSERT_TAIL(&f->flying, j->run, link);
	}
	if (j->low)
		f->n_low++;
	return true;
}

static bool next_job(struct fetcher *f, struct job *j)
{
	bool got = false;

	fetcher_lock(f);
	while (!f->closing && !(got = pick_locked(f, j)))
		if (TAILQ_EMPTY(&f->background))
			cond_wait(&f->work, &f->lock);
		else
			cond_wait_until(&f->work, &f->lock,
					time_mono_ns() + FETCH_YIELD_NS);
	fetcher_unlock(f);
	return got;
}

void *fetch_thread(void *arg)
{
	struct fetcher *f = arg;
	struct job j;

	while (next_job(f, &j)) {
		if (j.run) {
			fly(f, j.run);
			continue;
		}
		fetch_chore_run(j.chore);
		fetcher_lock(f);
		f->n_low--;
		cond_signal(&f->work);
		fetcher_unlock(f);
	}
	return NULL;
}
