/* Reading for callers who may wait: ask, wait, read what has come. */
#include "engine/fetch.h"

#include <errno.h>

#include "engine/fetch_internal.h"

#define READ_PIECE (4 * CHUNK_SIZE) /* of a long fetch_read() */
#define READ_TRIES 64

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
