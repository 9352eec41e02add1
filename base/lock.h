/*
 * Mutexes with a rank. A thread takes them in strictly rising order (so at most
 * one of a rank at a time) and waits on a condition with no other mutex in
 * hand; every build aborts with both names when it does not. No lock is held
 * across the network, a callback or a FUSE reply.
 */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* The order, outermost first. */
enum lock_rank {
	LOCK_MOUNT,    /* fs: open table, path choice */
	LOCK_TRIM,     /* engine: whether trimming is to end */
	LOCK_PREFETCH, /* engine: how far a prefetch is */
	LOCK_SESSION,  /* engine: what a session made so far */
	LOCK_HEADER,   /* engine: the header of a weight file */
	LOCK_FETCH,    /* engine: the fetcher's queue */
	LOCK_SOURCE,   /* engine: one source's chunk states */
	LOCK_VERIFY,   /* cache: what a verification found */
	LOCK_CACHE,    /* cache: tables of the cache */
	LOCK_PARTIAL,  /* cache: one partial blob */
	LOCK_DISTRUST, /* cache: damaged blobs of alternate caches */
	LOCK_REGISTRY, /* storage: one registry's state */
	LOCK_STORE,    /* storage: what an object store learned */
	LOCK_KEEPER,   /* storage: one secret and its renewal */
	LOCK_HTTP,     /* storage: the HTTP client's queue */
	LOCK_TRANSFER, /* storage: one transfer's buffer */
	LOCK_FAKE,     /* fakes and fault injectors */
	LOCK_POOL,     /* base: a thread pool's queue */
	LOCK_EACH,     /* base: one pool_for_each() */
	LOCK_HASH,     /* base: the two threads that hash one file */
	LOCK_RATE,     /* base: a rate limit's balance */
	LOCK_PROGRESS, /* base: progress counters' display */
	LOCK_LOG,      /* base: the log sink; always last */
	LOCK_RANKS
};

#if defined(__clang__)
#define CAPABILITY(x)    __attribute__((capability(x)))
#define ACQUIRES(...)    __attribute__((acquire_capability(__VA_ARGS__)))
#define RELEASES(...)    __attribute__((release_capability(__VA_ARGS__)))
#define REQUIRES(...)    __attribute__((requires_capability(__VA_ARGS__)))
#define NO_LOCK_ANALYSIS __attribute__((no_thread_safety_analysis))
#else
#define CAPABILITY(x)
#define ACQUIRES(...)
#define RELEASES(...)
#define REQUIRES(...)
#define NO_LOCK_ANALYSIS
#endif

struct CAPABILITY("mutex") mutex {
	pthread_mutex_t m;
	enum lock_rank rank;
};

/* For a mutex of static storage. */
#define MUTEX_INIT(r)                                       \
	{                                                   \
		.m = PTHREAD_MUTEX_INITIALIZER, .rank = (r) \
	}

void mutex_init(struct mutex *m, enum lock_rank rank);
void mutex_destroy(struct mutex *m);
void mutex_lock(struct mutex *m) ACQUIRES(m);
void mutex_unlock(struct mutex *m) RELEASES(m);

/* A condition whose clock is CLOCK_MONOTONIC. */
struct cond {
	pthread_cond_t c;
};
void cond_init(struct cond *c);
void cond_destroy(struct cond *c);
void cond_signal(struct cond *c);
void cond_broadcast(struct cond *c);
void cond_wait(struct cond *c, struct mutex *m) REQUIRES(m);
/* Until @deadline_ns of time_mono_ns(). Returns false when it has passed. */
bool cond_wait_until(struct cond *c, struct mutex *m, int64_t deadline_ns)
	REQUIRES(m);

/*
 * Byte-range locks between processes: open file description locks
 * (fcntl F_OFD_SETLK). They do not exclude threads that share one descriptor.
 */
enum lock_mode { LOCK_SHARED, LOCK_EXCLUSIVE };
/* 0, or -EAGAIN when another description holds it, or -errno. */
int ofd_try_lock(int fd, enum lock_mode mode, uint64_t off, uint64_t len);
/* Polls with growing pauses until @deadline_ns; -ETIMEDOUT then. */
int ofd_lock_until(int fd, enum lock_mode mode, uint64_t off, uint64_t len,
		   int64_t deadline_ns);
void ofd_unlock(int fd, uint64_t off, uint64_t len);

#endif
