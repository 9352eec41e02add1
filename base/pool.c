#include "base/pool.h"

#include <assert.h>
#include <errno.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/lock.h"
#include "base/thread.h"

struct job {
	struct job *next;
	void (*fn)(void *arg);
	void *arg;
};

struct pool {
	struct mutex lock; /* of all that follows but the threads */
	struct cond work;  /* a job came, or the end */
	struct cond idle;  /* pending fell to 0 */
	struct job *first, **last;
	size_t pending; /* queued or running */
	bool ending;
	unsigned n;
	pthread_t threads[];
};

/* Waits for a job; NULL at the end. */
static struct job *pool_take(struct pool *p)
{
	struct job *job;

	mutex_lock(&p->lock);
	while (!p->first && !p->ending)
		cond_wait(&p->work, &p->lock);
	job = p->first;
	if (job) {
		p->first = job->next;
		if (!p->first)
			p->last = &p->first;
	}
	mutex_unlock(&p->lock);
	return job;
}

static void *pool_run(void *arg)
{
	struct pool *p = arg;
	struct job *job;

	while ((job = pool_take(p))) {
		job->fn(job->arg);
		free(job);
		mutex_lock(&p->lock);
		if (!--p->pending)
			cond_broadcast(&p->idle);
		mutex_unlock(&p->lock);
	}
	return NULL;
}

struct pool *pool_new(const char *name, unsigned threads)
{
	struct pool *p = xcalloc(1, sizeof(*p) + threads * sizeof(pthread_t));
	int r = -EINVAL;

	assert(threads > 0);
	mutex_init(&p->lock, LOCK_POOL);
	cond_init(&p->work);
	cond_init(&p->idle);
	p->last = &p->first;
	while (p->n < threads) {
		r = thread_start(&p->threads[p->n], name, pool_run, p);
		if (r < 0)
			break;
		p->n++;
	}
	/* Fewer threads do the same work; with none there is no way on. */
	if (!p->n)
		thread_lacking(r);
	return p;
}

void pool_submit(struct pool *p, void (*fn)(void *arg), void *arg)
{
	struct job *job = xmalloc(sizeof(*job));

	*job = (struct job){.fn = fn, .arg = arg};
	mutex_lock(&p->lock);
	*p->last = job;
	p->last = &job->next;
	p->pending++;
	cond_signal(&p->work);
	mutex_unlock(&p->lock);
}

void pool_drain(struct pool *p)
{
	mutex_lock(&p->lock);
	while (p->pending)
		cond_wait(&p->idle, &p->lock);
	mutex_unlock(&p->lock);
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	pool_drain(p);
	mutex_lock(&p->lock);
	p->ending = true;
	cond_broadcast(&p->work);
	mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->n; i++)
		pthread_join(p->threads[i], NULL);
	cond_destroy(&p->work);
	cond_destroy(&p->idle);
	mutex_destroy(&p->lock);
	free(p);
}

/*
 * One pool_for_each(). The caller works too, and waits only for helpers that
 * have begun: so a job may call it on its own pool. A helper that begins after
 * the end finds nothing to do and drops the last reference.
 */
struct each {
	struct mutex lock; /* of all that follows */
	struct cond left;  /* a helper ended its work */
	int (*fn)(void *ctx, size_t i, struct error **errp);
	void *ctx;
	size_t next, n;
	size_t refs;    /* caller and helpers */
	size_t working; /* helpers at work */
	size_t bad;     /* lowest index that failed; r and err are its */
	int r;
	struct error *err;
};

static void each_unref(struct each *e)
{
	bool last;

	mutex_lock(&e->lock);
	last = !--e->refs;
	mutex_unlock(&e->lock);
	if (!last)
		return;
	cond_destroy(&e->left);
	mutex_destroy(&e->lock);
	free(e);
}

static void each_fail_locked(struct each *e, size_t i, int r,
			     struct error **take_err) REQUIRES(e->lock);

/* Every index below a failed one was handed out before it, so the lowest that
 * fails does not depend on timing. */
static void each_fail_locked(struct each *e, size_t i, int r,
			     struct error **take_err)
{
	e->next = e->n;
	if (e->r < 0 && e->bad < i) {
		error_freep(take_err);
		return;
	}
	error_free(e->err);
	e->err = steal_ptr(take_err);
	e->bad = i;
	e->r = r;
}

static void each_work_locked(struct each *e) REQUIRES(e->lock);

static void each_work_locked(struct each *e)
{
	while (e->next < e->n) {
		struct error *err = NULL;
		size_t i = e->next++;
		int r;

		mutex_unlock(&e->lock);
		r = e->fn(e->ctx, i, &err);
		mutex_lock(&e->lock);
		if (r < 0)
			each_fail_locked(e, i, r, &err);
	}
}

static void each_help(void *arg)
{
	struct each *e = arg;

	mutex_lock(&e->lock);
	e->working++;
	each_work_locked(e);
	e->working--;
	cond_signal(&e->left);
	mutex_unlock(&e->lock);
	each_unref(e);
}

static struct each *
each_new(size_t n, int (*fn)(void *ctx, size_t i, struct error **errp),
	 void *ctx)
{
	struct each *e = xcalloc(1, sizeof(*e));

	mutex_init(&e->lock, LOCK_EACH);
	cond_init(&e->left);
	e->fn = fn;
	e->ctx = ctx;
	e->n = n;
	return e;
}

int pool_for_each(struct pool *p, size_t n,
		  int (*fn)(void *ctx, size_t i, struct error **errp),
		  void *ctx, struct error **errp)
{
	struct each *e = each_new(n, fn, ctx);
	size_t helpers = n > 1 ? MIN(n, (size_t)p->n) - 1 : 0;
	struct error *err;
	int r;

	e->refs = helpers + 1;
	for (size_t i = 0; i < helpers; i++)
		pool_submit(p, each_help, e);
	mutex_lock(&e->lock);
	each_work_locked(e);
	while (e->working)
		cond_wait(&e->left, &e->lock);
	r = e->r;
	err = steal_ptr(&e->err);
	mutex_unlock(&e->lock);
	each_unref(e);
	return error_propagate(errp, &err, r);
}
