/*
 * The fetcher's public face: made and ended, asked, read from.
 */
#include "engine/fetch.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "base/thread.h"
#include "engine/fetch_internal.h"
#include "storage/retry.h"

#define READ_PIECE (4 * CHUNK_SIZE) /* of a long fetch_read() */
#define READ_TRIES 64

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
	TAILQ_INIT(&f->demand);
	TAILQ_INIT(&f->ahead);
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
	f->threads = xcalloc(n, sizeof(*f->threads));
	if (thread_start(&f->timer_thread, "fetch-timer", fetch_timer_thread,
			 f) < 0)
		abort();
	while (f->n_threads < n && thread_start(&f->threads[f->n_threads],
						"fetch", fetch_thread, f) >= 0)
		f->n_threads++;
	if (!f->n_threads)
		abort();
}

struct fetcher *fetcher_new(const struct fetcher_options *o)
{
	struct fetcher *f = xcalloc(1, sizeof(*f));

	mutex_init(&f->lock, LOCK_FETCH);
	cond_init(&f->work);
	cond_init(&f->timer);
	init_lists(f);
	f->refs = 1;
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
	mutex_destroy(&f->lock);
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
	free_runs_locked(&f->demand);
	free_runs_locked(&f->ahead);
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
	cond_broadcast(&f->work);
	cond_broadcast(&f->timer);
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
 * Reading what is local.
 */

/* A file of a pack that fits one buffer is checked by its own digest. */
static bool by_file(const struct fetch_range *r)
{
	return r->file_digest && r->file_size <= CHUNK_SIZE &&
	       r->source->kind == TREE_SOURCE_PACK;
}

static void chunks_of(const struct fetch_range *r, uint32_t *ret_first,
		      uint32_t *ret_end)
{
	uint64_t off = by_file(r) ? r->file_off : r->off;
	uint64_t len = by_file(r) ? r->file_size : r->len;

	*ret_first = (uint32_t)(off / CHUNK_SIZE);
	*ret_end = (uint32_t)((off + len + CHUNK_SIZE - 1) / CHUNK_SIZE);
}

static bool within(uint64_t off, uint64_t len, uint64_t from, uint64_t size)
{
	return off >= from && off - from <= size && len <= size - (off - from);
}

static int range_check(const struct fetch_range *r, struct error **errp)
{
	bool ok = within(r->off, r->len, 0, r->source->size) && r->len;

	if (ok && r->file_digest)
		ok = within(r->file_off, r->file_size, 0, r->source->size) &&
		     within(r->off, r->len, r->file_off, r->file_size);
	return ok ? 0 : error_set(errp, EINVAL, "a range outside its source");
}

/* Note the access, and learn of a source that is wrong for good. */
static int note(struct fetcher *f, const struct fetch_range *r,
		struct error **errp)
{
	struct fetch_source *s = r->source;
	struct error *err = NULL;
	uint32_t first, end;

	chunks_of(r, &first, &end);
	fetcher_lock(f);
	if (s->fault)
		err = error_copy(s->fault);
	else
		fetch_note_locked(s, first, end);
	fetcher_unlock(f);
	return err ? error_propagate(errp, &err, -err->code) : 0;
}

static void copy_part(const struct fetch_range *r, uint64_t from,
		      const struct fetch_buf *b, void *buf)
{
	uint64_t lo = MAX(from, r->off);
	uint64_t hi = MIN(from + b->len, r->off + r->len);

	memcpy((char *)buf + (lo - r->off), b->data + (lo - from), hi - lo);
}

/* True: every chunk of the range was in memory. */
static bool read_memory(struct fetcher *f, const struct fetch_range *r,
			void *buf)
{
	for (uint64_t i = r->off / CHUNK_SIZE; i * CHUNK_SIZE < r->off + r->len;
	     i++) {
		struct fetch_key key = fetch_chunk_key(r->source, (uint32_t)i);
		cleanup_fetch_buf struct fetch_buf *b =
			fetch_memory_get(f->memory, &key);

		if (!b)
			return false;
		copy_part(r, i * CHUNK_SIZE, b, buf);
	}
	return true;
}

static int load_file(const struct fetch_range *r, struct fetch_buf **ret,
		     struct error **errp)
{
	cleanup_fetch_buf struct fetch_buf *b =
		fetch_buf_new((uint32_t)r->file_size);
	cleanup_error struct error *err = NULL;
	struct content *ct = r->source->content;
	struct digest got;
	int n;

	if (!b)
		return error_set_errno(errp, ENOMEM, "a file's buffer");
	n = content_read_unverified(ct, b->data, b->len, r->file_off);
	if (n < 0)
		return n == -ENOENT
			       ? -EAGAIN
			       : error_set_errno(errp, -n, "reading the cache");
	got = digest_of_buf(b->data, b->len);
	if (digest_equal(&got, r->file_digest)) {
		*ret = steal_ptr(&b);
		return 0;
	}
	n = content_recheck(ct, r->file_off, b->len, &err);
	if (n == -ENOENT)
		return -EAGAIN;
	if (n < 0)
		return error_propagate(errp, &err, n);
	return error_set(errp, EBADMSG,
			 "a pack holds other bytes than its tree says for "
			 "'%s'",
			 digest_to_str(r->file_digest).str);
}

static int load_chunk(const struct fetch_range *r, uint32_t i,
		      struct fetch_buf **ret, struct error **errp)
{
	struct fetch_source *s = r->source;
	cleanup_error struct error *err = NULL;
	cleanup_fetch_buf struct fetch_buf *b = NULL;
	ssize_t n;

	if (!content_has(s->content, i))
		return -EAGAIN;
	b = fetch_buf_new(CHUNK_SIZE);
	if (!b)
		return error_set_errno(errp, ENOMEM, "a chunk buffer");
	n = content_read_chunk(s->content, i, b->data, &err);
	if (n == -ENOENT)
		return -EAGAIN;
	if (n < 0)
		return error_propagate(errp, &err, (int)n);
	b->len = (uint32_t)n; /* what the grid says: chunk_len() */
	*ret = steal_ptr(&b);
	return 0;
}

static int get_file(struct fetcher *f, const struct fetch_range *r,
		    struct fetch_buf **ret, struct error **errp)
{
	struct fetch_key key = {*r->file_digest, (uint32_t)r->file_size};
	int n = 0;

	*ret = fetch_memory_get_or_load(f->memory, &key);
	if (!*ret) {
		n = load_file(r, ret, errp);
		fetch_memory_loaded(f->memory, &key, *ret);
	}
	return n;
}

static int get_chunk(struct fetcher *f, const struct fetch_range *r, uint32_t i,
		     struct fetch_buf **ret, struct error **errp)
{
	struct fetch_key key = fetch_chunk_key(r->source, i);
	int n = 0;

	*ret = fetch_memory_get_or_load(f->memory, &key);
	if (!*ret) {
		n = load_chunk(r, i, ret, errp);
		fetch_memory_loaded(f->memory, &key, *ret);
	}
	return n;
}

static int read_chunks(struct fetcher *f, const struct fetch_range *r,
		       void *buf, struct error **errp)
{
	for (uint64_t i = r->off / CHUNK_SIZE; i * CHUNK_SIZE < r->off + r->len;
	     i++) {
		cleanup_fetch_buf struct fetch_buf *b = NULL;
		int n = get_chunk(f, r, (uint32_t)i, &b, errp);

		if (n < 0)
			return n;
		copy_part(r, i * CHUNK_SIZE, b, buf);
	}
	return 0;
}

static int read_file(struct fetcher *f, const struct fetch_range *r, void *buf,
		     struct error **errp)
{
	cleanup_fetch_buf struct fetch_buf *b = NULL;
	int n = get_file(f, r, &b, errp);

	if (n >= 0)
		copy_part(r, r->file_off, b, buf);
	return n;
}

ssize_t fetch_try_read(struct fetcher *f, const struct fetch_range *r,
		       void *buf, struct error **errp)
{
	int n = range_check(r, errp);

	if (n >= 0)
		n = note(f, r, errp);
	if (n < 0)
		return n;
	if (!read_memory(f, r, buf)) {
		n = by_file(r) ? read_file(f, r, buf, errp)
			       : read_chunks(f, r, buf, errp);
		if (n < 0)
			return n;
	}
	atomic_fetch_add(&f->bytes_cache, r->len);
	return (ssize_t)r->len;
}

/*
 * Asking for what is not.
 */

static uint64_t refuse(struct fetcher *f, fetch_done_fn done, void *ctx, int r,
		       const struct error *err)
{
	if (r < 0)
		atomic_fetch_add(&f->failed, 1);
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

static uint64_t wait_locked(struct fetch_source *s, uint32_t first,
			    uint32_t end, fetch_done_fn done, void *ctx)
{
	uint64_t ticket =
		fetch_waiter_new_locked(s, first, end, done, ctx)->ticket;

	/* Another process may have brought them in this very moment. */
	fetch_waiters_look_locked(s, first, end);
	fetch_note_locked(s, first, end);
	return ticket;
}

uint64_t fetch_ask(struct fetcher *f, const struct fetch_range *r,
		   fetch_done_fn done, void *ctx)
{
	cleanup_error struct error *err = NULL;
	uint64_t ticket = 0;
	uint32_t first, end;
	int n = range_check(r, &err);

	if (n < 0)
		return refuse(f, done, ctx, n, err);
	chunks_of(r, &first, &end);
	fetcher_lock(f);
	if (f->closing)
		n = error_set(&err, ECANCELED, "ending");
	else
		n = missing_locked(r->source, first, end, &err);
	if (n == 1)
		ticket = wait_locked(r->source, first, end, done, ctx);
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

/*
 * Asking and waiting.
 */

struct answer {
	struct mutex lock;
	struct cond cond;
	bool there;
	int result;
	struct error *err;
};

static void answered(void *ctx, int result, const struct error *err)
{
	struct answer *a = ctx;

	mutex_lock(&a->lock);
	a->there = true;
	a->result = result;
	a->err = err ? error_copy(err) : NULL;
	cond_signal(&a->cond);
	mutex_unlock(&a->lock);
}

static bool out_of_time(const struct op *op)
{
	return op_cancelled(op) || time_mono_ns() >= op_deadline(op);
}

static void await(struct fetcher *f, struct answer *a, uint64_t ticket,
		  const struct op *op)
{
	bool given_up = false;

	mutex_lock(&a->lock);
	while (!a->there) {
		if (given_up) {
			cond_wait(&a->cond, &a->lock); /* the answer comes */
			continue;
		}
		cond_wait_until(&a->cond, &a->lock,
				MIN(time_mono_ns() + 50 * NS_PER_MS,
				    op_deadline(op)));
		if (a->there || !out_of_time(op))
			continue;
		given_up = true;
		mutex_unlock(&a->lock);
		fetch_cancel(f, ticket);
		mutex_lock(&a->lock);
	}
	mutex_unlock(&a->lock);
}

static int ask_and_wait(struct fetcher *f, const struct fetch_range *r,
			const struct op *op, struct error **errp)
{
	struct answer a = {0};

	if (op_cancelled(op))
		return error_set(errp, ECANCELED, "cancelled");
	mutex_init(&a.lock, LOCK_SOURCE);
	cond_init(&a.cond);
	await(f, &a, fetch_ask(f, r, answered, &a), op);
	cond_destroy(&a.cond);
	mutex_destroy(&a.lock);
	if (a.result == -ECANCELED && !op_cancelled(op) && out_of_time(op)) {
		error_freep(&a.err);
		return error_set(errp, ETIMEDOUT, "took too long");
	}
	return a.result < 0 ? error_propagate(errp, &a.err, a.result) : 0;
}

static ssize_t read_piece(struct fetcher *f, const struct fetch_range *r,
			  void *buf, const struct op *op, struct error **errp)
{
	for (unsigned i = 0; i < READ_TRIES; i++) {
		ssize_t n = fetch_try_read(f, r, buf, errp);

		if (n != -EAGAIN)
			return n;
		n = ask_and_wait(f, r, op, errp);
		if (n < 0)
			return n;
	}
	return error_set(errp, EIO, "'%s' does not stay in the cache",
			 digest_to_str(&r->source->digest).str);
}

ssize_t fetch_read(struct fetcher *f, const struct fetch_range *r, void *buf,
		   const struct op *op, struct error **errp)
{
	struct fetch_range part = *r;
	size_t done = 0;

	while (done < r->len) {
		ssize_t n;

		part.off = r->off + done;
		part.len =
			MIN(r->len - done, READ_PIECE - part.off % CHUNK_SIZE);
		n = read_piece(f, &part, (char *)buf + done, op, errp);
		if (n < 0)
			return n;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

void fetcher_stats(struct fetcher *f, struct fetch_stats *ret)
{
	*ret = (struct fetch_stats){
		.requests = atomic_load(&f->requests),
		.bytes_network = atomic_load(&f->bytes_network),
		.bytes_cache = atomic_load(&f->bytes_cache),
		.chunks_bad = atomic_load(&f->bad),
		.waits = atomic_load(&f->waits),
		.failures = atomic_load(&f->failed),
		.in_flight = atomic_load(&f->in_flight),
	};
}
