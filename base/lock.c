/*
 * A thread holds at most one mutex of each rank, so what it holds is one word:
 * bit r for rank r. Taking rank r is in order when no bit ≥ r is set.
 */
#include "base/lock.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/alloc.h"
#include "base/random.h"
#include "base/time.h"

_Static_assert(LOCK_RANKS <= 32, "held is one 32-bit word");

static const char *const rank_names[LOCK_RANKS] = {
	[LOCK_MOUNT] = "mount",       [LOCK_TRIM] = "trim",
	[LOCK_PREFETCH] = "prefetch", [LOCK_SESSION] = "session",
	[LOCK_FETCH] = "fetch",       [LOCK_SOURCE] = "source",
	[LOCK_CACHE] = "cache",       [LOCK_PARTIAL] = "partial",
	[LOCK_DISTRUST] = "distrust", [LOCK_REGISTRY] = "registry",
	[LOCK_STORE] = "store",       [LOCK_KEEPER] = "keeper",
	[LOCK_HTTP] = "http",         [LOCK_TRANSFER] = "transfer",
	[LOCK_FAKE] = "fake",         [LOCK_POOL] = "pool",
	[LOCK_EACH] = "each",         [LOCK_HASH] = "hash",
	[LOCK_PROGRESS] = "progress", [LOCK_LOG] = "log",
	[LOCK_RATE] = "rate",         [LOCK_VERIFY] = "verify",
};

static _Thread_local uint32_t held;

static void __attribute__((noreturn))
rank_abort(const char *doing, enum lock_rank rank, uint32_t others)
{
	const char *top = "nothing";

	if (others)
		top = rank_names[31 - __builtin_clz(others)];
	fprintf(stderr, "lock order: %s '%s' while holding '%s'\n", doing,
		rank_names[rank], top);
	abort();
}

static void must(int r)
{
	assert(r == 0); /* these calls fail for misuse alone */
	(void)r;
}

void mutex_init(struct mutex *m, enum lock_rank rank)
{
	assert(rank < LOCK_RANKS);
	must(pthread_mutex_init(&m->m, NULL));
	m->rank = rank;
}

void mutex_destroy(struct mutex *m)
{
	must(pthread_mutex_destroy(&m->m));
}

void mutex_lock(struct mutex *m) NO_LOCK_ANALYSIS
{
	if (held >> m->rank)
		rank_abort("taking", m->rank, held);
	must(pthread_mutex_lock(&m->m));
	held |= 1u << m->rank;
}

void mutex_unlock(struct mutex *m) NO_LOCK_ANALYSIS
{
	if (!(held & 1u << m->rank))
		rank_abort("giving back", m->rank, held);
	held &= ~(1u << m->rank);
	must(pthread_mutex_unlock(&m->m));
}

void cond_init(struct cond *c)
{
	pthread_condattr_t attr;

	must(pthread_condattr_init(&attr));
	must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
	must(pthread_cond_init(&c->c, &attr));
	must(pthread_condattr_destroy(&attr));
}

void cond_destroy(struct cond *c)
{
	must(pthread_cond_destroy(&c->c));
}

void cond_signal(struct cond *c)
{
	must(pthread_cond_signal(&c->c));
}

void cond_broadcast(struct cond *c)
{
	must(pthread_cond_broadcast(&c->c));
}

/* Who sleeps with a second mutex in hand stops threads it cannot see. */
static void check_alone(const struct mutex *m)
{
	if (held != 1u << m->rank)
		rank_abort("waiting on", m->rank, held & ~(1u << m->rank));
}

void cond_wait(struct cond *c, struct mutex *m)
{
	check_alone(m);
	must(pthread_cond_wait(&c->c, &m->m));
}

bool cond_wait_until(struct cond *c, struct mutex *m, int64_t deadline_ns)
{
	struct timespec ts;
	int r;

	check_alone(m);
	if (deadline_ns == TIME_NEVER) {
		must(pthread_cond_wait(&c->c, &m->m));
		return true;
	}
	deadline_ns = MAX(deadline_ns, (int64_t)0);
	ts.tv_sec = deadline_ns / NS_PER_S;
	ts.tv_nsec = (long)(deadline_ns % NS_PER_S);
	r = pthread_cond_timedwait(&c->c, &m->m, &ts);
	assert(r == 0 || r == ETIMEDOUT);
	return r == 0;
}

static int ofd_set(int fd, short type, uint64_t off, uint64_t len)
{
	struct flock fl = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = (off_t)off,
		.l_len = (off_t)len,
	};
	int r;

	do
		r = fcntl(fd, F_OFD_SETLK, &fl);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		return 0;
	return errno == EACCES ? -EAGAIN : -errno;
}

int ofd_try_lock(int fd, enum lock_mode mode, uint64_t off, uint64_t len)
{
	return ofd_set(fd, mode == LOCK_SHARED ? F_RDLCK : F_WRLCK, off, len);
}

int ofd_lock_until(int fd, enum lock_mode mode, uint64_t off, uint64_t len,
		   int64_t deadline_ns)
{
	int64_t pause_ms = 1;

	for (;;) {
		int r = ofd_try_lock(fd, mode, off, len);

		if (r != -EAGAIN)
			return r;
		if (time_mono_ns() >= deadline_ns)
			return -ETIMEDOUT;
		/* Jitter, so that waiters do not all come back at once. */
		time_sleep_ms(pause_ms +
			      (int64_t)random_below((uint64_t)pause_ms));
		pause_ms = MIN(pause_ms * 2, (int64_t)64);
	}
}

void ofd_unlock(int fd, uint64_t off, uint64_t len)
{
	(void)ofd_set(fd, F_UNLCK, off, len);
}
