/*
 * A fixed set of threads that run jobs in the order they came.
 *
 * Threads: pool_submit() from any thread, jobs included. Create a pool only
 * after the last fork().
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stddef.h>

#include "base/thread.h" /* cpu_count() */

struct pool;

/* @name (≤ 15 bytes) shows in ps -L. */
struct pool *pool_new(const char *name, unsigned threads);
void pool_submit(struct pool *p, void (*fn)(void *arg), void *arg);
/* Wait until the pool is idle: all jobs submitted so far, and those that come
 * meanwhile, are done. Not from a job. */
void pool_drain(struct pool *p);
/* Drain, join, free. */
void pool_free(struct pool *p);
static inline void pool_freep(struct pool **p)
{
	if (*p)
		pool_free(*p);
	*p = 0;
}
#define cleanup_pool __attribute__((cleanup(pool_freep)))

/*
 * Run fn(ctx, i) for i in [0, n) on the pool and wait. The caller works as one
 * of the pool's threads, so a job may call this on its own pool. fn returns 0
 * or -errno; a failure stops the handing-out of further indices, and that of
 * the lowest index is returned (with its error object, when fn sets one through
 * @errp).
 */
struct error;
int pool_for_each(struct pool *p, size_t n,
		  int (*fn)(void *ctx, size_t i, struct error **errp),
		  void *ctx, struct error **errp);

#endif
