#include "engine/trim.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/time.h"
#include "cache/gc.h"
#include "engine/bundle.h"

/* How often a mount looks whether the limits hold; how often it counts what
 * others brought, too; how long it rests when nothing may go. */
#define LOOK_NS  NS_PER_S
#define COUNT_NS (60 * NS_PER_S)
#define REST_NS  (10 * NS_PER_S)
/* A partial without writes for so long is left for dead: its reader, if it has
 * one yet, fetches again. */
#define PARTIAL_AGE_S 10

static bool has_limits(const struct settings *set)
{
	return set->cache_max_size || set->cache_min_free;
}

static int collect(struct session *s, const struct op *op,
		   struct gc_report *ret)
{
	const struct settings *set = session_settings(s);
	cleanup_error struct error *err = NULL;
	struct gc_options o = {
		.max_bytes =
			set->cache_max_size ? set->cache_max_size : UINT64_MAX,
		.min_free = set->cache_min_free,
		.headroom = (set->cache_max_size ? set->cache_max_size
						 : set->cache_min_free) /
			    10,
		.partial_age_s = PARTIAL_AGE_S,
		.op = op,
		.expand = bundle_needs,
	};
	struct cache *c = NULL;
	int r = session_cache(s, &c, &err);

	o.ctx = c;
	if (r >= 0)
		r = cache_gc(c, &o, ret, &err);
	/* Another process at it is as good. */
	if (r < 0 && r != -EBUSY && r != -ECANCELED)
		log_info("the cache was not kept within its limits: %s",
			 err ? err->message : "failed");
	return r;
}

void trim(struct session *s, const struct op *op)
{
	struct gc_report report;

	if (has_limits(session_settings(s)))
		(void)collect(s, op, &report);
}

/*
 * The mount's.
 */

struct trimmer {
	struct session *session;
	struct cache *cache;
	struct fetcher *fetcher;
	void (*let_go)(void *ctx);
	void *ctx;
	pthread_t thread;
	atomic_bool cancelled;

	struct mutex lock; /* of stopping */
	struct cond stopped;
	bool stopping;

	/* The thread's own. */
	uint64_t used;       /* by the cache, when it was counted */
	uint64_t network;    /* what had come until then */
	int64_t count_at_ns; /* then it is counted again */
};

static uint64_t bytes_come(const struct trimmer *t)
{
	struct fetch_stats st;

	fetcher_stats(t->fetcher, &st);
	return st.bytes_network;
}

static bool too_little_is_free(const struct trimmer *t)
{
	uint64_t min = session_settings(t->session)->cache_min_free;
	struct statvfs fs;

	return min && fstatvfs(cache_dirfd(t->cache), &fs) == 0 &&
	       (uint64_t)fs.f_bavail * fs.f_frsize < min;
}

/* A guess between two counts: all that came since the last one was kept. */
static bool too_much_is_used(const struct trimmer *t)
{
	uint64_t max = session_settings(t->session)->cache_max_size;

	return max && t->used + (bytes_come(t) - t->network) > max;
}

/* When to look again. */
static int64_t look(struct trimmer *t)
{
	struct op op = OP_INIT;
	struct gc_report report = {0};
	uint64_t network = bytes_come(t);
	int64_t now = time_mono_ns();

	if (!has_limits(session_settings(t->session))) {
		cache_let_go(t->cache);
		return now + REST_NS;
	}
	if (too_little_is_free(t) || too_much_is_used(t)) {
		if (t->let_go)
			t->let_go(t->ctx);
	} else if (now < t->count_at_ns) {
		return now + LOOK_NS;
	}
	op.cancelled = &t->cancelled;
	if (collect(t->session, &op, &report) < 0)
		return now + REST_NS;
	cache_let_go(t->cache);
	t->used = report.bytes_after;
	t->network = network;
	t->count_at_ns = now + COUNT_NS;
	/* Nothing went and it is too much: all of it is needed. */
	return time_mono_ns() +
	       (report.bytes_after < report.bytes_before ||
				!(too_little_is_free(t) || too_much_is_used(t))
			? LOOK_NS
			: REST_NS);
}

static void *trim_thread(void *arg)
{
	struct trimmer *t = arg;

	mutex_lock(&t->lock);
	while (!t->stopping) {
		mutex_unlock(&t->lock);
		int64_t next_ns = look(t);
		mutex_lock(&t->lock);
		while (!t->stopping &&
		       cond_wait_until(&t->stopped, &t->lock, next_ns))
			;
	}
	mutex_unlock(&t->lock);
	return NULL;
}

static void trimmer_free(struct trimmer *t)
{
	cond_destroy(&t->stopped);
	mutex_destroy(&t->lock);
	free(t);
}

struct trimmer *trimmer_start(struct session *s, void (*let_go)(void *ctx),
			      void *ctx)
{
	struct trimmer *t;

	t = xcalloc(1, sizeof(*t));
	t->session = s;
	t->let_go = let_go;
	t->ctx = ctx;
	mutex_init(&t->lock, LOCK_TRIM);
	cond_init(&t->stopped);
	if (session_cache(s, &t->cache, NULL) < 0 ||
	    session_fetcher(s, &t->fetcher, NULL) < 0 ||
	    thread_start(&t->thread, "trim", trim_thread, t) < 0) {
		log_warn("the cache is not kept within its limits");
		trimmer_free(t);
		return NULL;
	}
	return t;
}

void trimmer_stop(struct trimmer *t)
{
	if (!t)
		return;
	atomic_store(&t->cancelled, true);
	mutex_lock(&t->lock);
	t->stopping = true;
	cond_signal(&t->stopped);
	mutex_unlock(&t->lock);
	pthread_join(t->thread, NULL);
	trimmer_free(t);
}
