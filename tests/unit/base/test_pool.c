#include "base/pool.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/progress.h"
#include "base/time.h"
#include "tests/lib/tap.h"

static struct pool *pool;
static atomic_int count;
static atomic_bool gate;

static void bump(void *arg)
{
	atomic_fetch_add(&count, *(int *)arg);
}

static void wait_for_gate(void *arg)
{
	while (!atomic_load(&gate))
		time_sleep_ms(1);
}

struct order {
	int seen[100];
	atomic_int n;
	int value[100];
};
static struct order order;

static void note(void *arg)
{
	int *v = arg;

	order.seen[atomic_fetch_add(&order.n, 1)] = *v;
}

static void test_order(void)
{
	struct pool *one = pool_new("one", 1);
	bool rising = true;

	for (int i = 0; i < 100; i++) {
		order.value[i] = i;
		pool_submit(one, note, &order.value[i]);
	}
	pool_drain(one);
	for (int i = 0; i < 100; i++)
		rising = rising && order.seen[i] == i;
	ok(rising && order.n == 100, "jobs begin in the order they came");
	pool_free(one);
}

static void resubmit(void *arg)
{
	int one = 1;

	bump(&one);
	if (atomic_load(&count) < 50)
		pool_submit(pool, resubmit, NULL);
}

static void test_drain(void)
{
	static int two = 2;

	atomic_store(&count, 0);
	for (int i = 0; i < 1000; i++)
		pool_submit(pool, bump, &two);
	pool_drain(pool);
	ok(count == 2000, "drain waits for all");
	pool_drain(pool);
	ok(true, "draining an idle pool returns");
	atomic_store(&count, 0);
	pool_submit(pool, resubmit, NULL);
	pool_drain(pool);
	ok(count == 50, "a job may submit jobs");
}

static void test_free_drains(void)
{
	struct pool *p = pool_new("brief", 3);
	static int one = 1;

	atomic_store(&count, 0);
	for (int i = 0; i < 500; i++)
		pool_submit(p, bump, &one);
	pool_free(p);
	ok(count == 500, "freeing does the work that was left");
}

struct marks {
	atomic_int done[1000];
};

static int mark(void *ctx, size_t i, struct error **errp)
{
	struct marks *m = ctx;

	atomic_fetch_add(&m->done[i], 1);
	return 0;
}

static void test_each(void)
{
	static struct marks m;
	bool once = true;
	int r = pool_for_each(pool, 1000, mark, &m, NULL);

	for (int i = 0; i < 1000; i++)
		once = once && m.done[i] == 1;
	ok(r == 0 && once, "for_each runs each index once");
	ok(pool_for_each(pool, 0, mark, &m, NULL) == 0,
	   "for_each of nothing is fine");
	ok(pool_for_each(pool, 1, mark, &m, NULL) == 0 && m.done[0] == 2,
	   "for_each of one runs it");
}

static int fail_from_37(void *ctx, size_t i, struct error **errp)
{
	atomic_fetch_add((atomic_int *)ctx, 1);
	/* The higher, the sooner it fails. */
	if (i >= 37 && i < 41) {
		time_sleep_ms((int64_t)(41 - i) * 3);
		return error_set(errp, ENOSPC, "index %zu", i);
	}
	return 0;
}

static void test_each_failure(void)
{
	bool always = true;

	for (int k = 0; k < 20; k++) {
		cleanup_error struct error *err = NULL;
		atomic_int ran = 0;
		int r = pool_for_each(pool, 100000, fail_from_37, &ran, &err);

		always = always && r == -ENOSPC && err &&
			 !strcmp(err->message, "index 37") && ran < 100000;
	}
	ok(always, "the failure of the lowest index is returned");
	atomic_store(&count, 0);
	ok(pool_for_each(pool, 50, fail_from_37, &count, NULL) == -ENOSPC,
	   "nobody has to want the error object");
}

static int nested(void *ctx, size_t i, struct error **errp)
{
	return pool_for_each(pool, 50, mark, ctx, errp);
}

static void nested_job(void *arg)
{
	pool_for_each(pool, 20, nested, arg, NULL);
}

static void test_each_nested(void)
{
	static struct marks m;

	/* Both threads are busy with jobs that want the pool themselves. */
	pool_submit(pool, nested_job, &m);
	pool_submit(pool, nested_job, &m);
	pool_submit(pool, nested_job, &m);
	pool_drain(pool);
	ok(m.done[0] == 60 && m.done[49] == 60,
	   "a job may use for_each on its own pool");
}

static void test_each_with_busy_pool(void)
{
	static struct marks m;
	int r;

	atomic_store(&gate, false);
	pool_submit(pool, wait_for_gate, NULL);
	pool_submit(pool, wait_for_gate, NULL);
	r = pool_for_each(pool, 100, mark, &m, NULL);
	ok(r == 0 && m.done[99] == 1,
	   "the caller does the work when every thread is busy");
	atomic_store(&gate, true);
	pool_drain(pool);
}

static int hash_noise(void *ctx, size_t i, struct error **errp)
{
	struct digest d = digest_of_buf(&i, sizeof(i));
	cleanup_map struct map m = MAP_INIT;

	map_put(&m, d.b, sizeof(d.b), ctx);
	log_debug("digest %s", digest_to_hex(&d).str);
	progress_add(ctx, 1, i);
	return 0;
}

static void test_shared_parts(void)
{
	struct progress *p = progress_new("testing", 0);

	progress_total(p, 500, 0);
	ok(pool_for_each(pool, 500, hash_noise, p, NULL) == 0,
	   "hashing, tables, log and progress work from many threads");
	progress_free(p);
}

static void blocked_signals(void *arg)
{
	sigset_t *set = arg;

	pthread_sigmask(SIG_SETMASK, NULL, set);
}

static void test_signals(void)
{
	sigset_t in_job, here;

	pool_submit(pool, blocked_signals, &in_job);
	pool_drain(pool);
	pthread_sigmask(SIG_SETMASK, NULL, &here);
	ok(sigismember(&in_job, SIGTERM) && sigismember(&in_job, SIGINT) &&
		   !sigismember(&in_job, SIGBUS),
	   "threads of a pool leave signals to others");
	ok(!sigismember(&here, SIGTERM), "the creator's mask is as it was");
}

static void test_cpus(void)
{
	cpu_set_t all, one;

	sched_getaffinity(0, sizeof(all), &all);
	ok(cpu_count() >= 1 && cpu_count() <= (unsigned)CPU_COUNT(&all),
	   "CPUs: at least one, at most those of the affinity mask");
	CPU_ZERO(&one);
	for (int i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++)
		if (CPU_ISSET(i, &all))
			CPU_SET(i, &one);
	sched_setaffinity(0, sizeof(one), &one);
	ok(cpu_count() == 1, "the affinity mask is heeded");
	sched_setaffinity(0, sizeof(all), &all);
}

int main(void)
{
	pool = pool_new("test", 2);
	test_order();
	test_drain();
	test_free_drains();
	test_each();
	test_each_failure();
	test_each_nested();
	test_each_with_busy_pool();
	test_shared_parts();
	test_signals();
	test_cpus();
	pool_free(pool);
	return tap_done();
}
