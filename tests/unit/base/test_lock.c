/* Ranks, conditions and locks between processes. Each abort is in a child. */
#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/time.h"
#include "tests/lib/tap.h"
#include "tests/lib/tmpdir.h"

static struct mutex outer = MUTEX_INIT(LOCK_MOUNT);
static struct mutex middle = MUTEX_INIT(LOCK_CACHE);
static struct mutex middle2 = MUTEX_INIT(LOCK_CACHE);
static struct mutex inner = MUTEX_INIT(LOCK_LOG);

static void in_order(void) NO_LOCK_ANALYSIS
{
	mutex_lock(&outer);
	mutex_lock(&middle);
	mutex_lock(&inner);
	/* Giving back has no order. */
	mutex_unlock(&middle);
	mutex_unlock(&outer);
	mutex_unlock(&inner);
	mutex_lock(&outer);
	mutex_unlock(&outer);
}

static void falling(void) NO_LOCK_ANALYSIS
{
	mutex_lock(&middle);
	mutex_lock(&outer);
}

static void same_rank(void) NO_LOCK_ANALYSIS
{
	mutex_lock(&middle);
	mutex_lock(&middle2);
}

static void twice(void) NO_LOCK_ANALYSIS
{
	mutex_lock(&middle);
	mutex_lock(&middle);
}

static void not_held(void) NO_LOCK_ANALYSIS
{
	mutex_unlock(&middle);
}

static void waits_with_two(void) NO_LOCK_ANALYSIS
{
	struct cond c;

	cond_init(&c);
	mutex_lock(&outer);
	mutex_lock(&middle);
	cond_wait_until(&c, &middle, 0);
}

static void waits_without(void) NO_LOCK_ANALYSIS
{
	struct cond c;

	cond_init(&c);
	cond_wait_until(&c, &middle, 0);
}

/* What the child printed to stderr is put into @said. */
static int status_of(void (*fn)(void), char *said, size_t size)
{
	int status, ends[2];
	ssize_t n;
	pid_t pid;

	if (pipe(ends) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		dup2(ends[1], STDERR_FILENO);
		fn();
		_exit(0);
	}
	close(ends[1]);
	n = read(ends[0], said, size - 1);
	said[n > 0 ? n : 0] = '\0';
	close(ends[0]);
	waitpid(pid, &status, 0);
	return status;
}

static void test_ranks(void)
{
	static const struct {
		const char *what;
		void (*fn)(void);
		const char *says;
	} aborts[] = {
		{"falling ranks", falling,
		 "taking 'mount' while holding 'cache'"},
		{"two of one rank", same_rank,
		 "taking 'cache' while holding 'cache'"},
		{"one mutex twice", twice,
		 "taking 'cache' while holding 'cache'"},
		{"giving back what is not held", not_held,
		 "giving back 'cache' while holding 'nothing'"},
		{"waiting with a second mutex", waits_with_two,
		 "waiting on 'cache' while holding 'mount'"},
		{"waiting without the mutex", waits_without, "waiting on"},
	};
	char said[256];

	ok(status_of(in_order, said, sizeof(said)) == 0,
	   "rising ranks are fine");
	for (size_t i = 0; i < ARRAY_SIZE(aborts); i++) {
		int status = status_of(aborts[i].fn, said, sizeof(said));

		ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT &&
			   strstr(said, aborts[i].says),
		   "aborts: %s", aborts[i].what);
	}
}

struct counter {
	struct mutex lock;
	struct cond changed;
	int n;
};

static void *count_up(void *arg)
{
	struct counter *c = arg;

	for (int i = 0; i < 10000; i++) {
		mutex_lock(&c->lock);
		c->n++;
		cond_broadcast(&c->changed);
		mutex_unlock(&c->lock);
	}
	return NULL;
}

static void test_threads(void)
{
	struct counter c = {.n = 0};
	pthread_t threads[4];
	int64_t start;
	bool in_time;

	mutex_init(&c.lock, LOCK_SOURCE);
	cond_init(&c.changed);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_create(&threads[i], NULL, count_up, &c);
	mutex_lock(&c.lock);
	while (c.n < 40000)
		cond_wait_until(&c.changed, &c.lock, TIME_NEVER);
	mutex_unlock(&c.lock);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	ok(c.n == 40000, "four threads count to 40,000");

	start = time_mono_ns();
	mutex_lock(&c.lock);
	in_time = cond_wait_until(&c.changed, &c.lock, start + 30 * NS_PER_MS);
	mutex_unlock(&c.lock);
	ok(!in_time && time_mono_ns() - start >= 30 * NS_PER_MS,
	   "a wait ends at its deadline");
	mutex_lock(&c.lock);
	in_time = cond_wait_until(&c.changed, &c.lock, -5);
	mutex_unlock(&c.lock);
	ok(!in_time, "a deadline before the clock's start has passed");
	cond_destroy(&c.changed);
	mutex_destroy(&c.lock);
}

static void test_ofd(void)
{
	cleanup_tmpdir char *dir = tmpdir_new();
	cleanup_free char *path = xasprintf("%s/lock", dir);
	cleanup_fd int a = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cleanup_fd int b = open(path, O_RDWR | O_CLOEXEC);
	cleanup_fd int ro = open(path, O_RDONLY | O_CLOEXEC);
	const uint64_t far = UINT64_MAX >> 2; /* 62 bits */
	int64_t start;
	int r;

	ok(ofd_try_lock(a, LOCK_EXCLUSIVE, 10, 5) == 0 &&
		   ofd_try_lock(b, LOCK_EXCLUSIVE, 15, 1) == 0,
	   "ranges beside each other do not meet");
	ok(ofd_try_lock(b, LOCK_EXCLUSIVE, 14, 1) == -EAGAIN &&
		   ofd_try_lock(b, LOCK_SHARED, 10, 1) == -EAGAIN,
	   "an exclusive lock keeps others out");
	ok(ofd_try_lock(a, LOCK_SHARED, 10, 5) == 0 &&
		   ofd_try_lock(b, LOCK_SHARED, 10, 5) == 0 &&
		   ofd_try_lock(a, LOCK_EXCLUSIVE, 10, 5) == -EAGAIN,
	   "shared locks go together");
	ok(ofd_try_lock(a, LOCK_EXCLUSIVE, far, 1) == 0 &&
		   ofd_try_lock(b, LOCK_EXCLUSIVE, far, 1) == -EAGAIN,
	   "the byte of the highest digest can be locked");
	ok(ofd_try_lock(ro, LOCK_EXCLUSIVE, 0, 1) == -EBADF,
	   "another failure is not a held lock");
	ofd_unlock(a, far, 1);
	ok(ofd_try_lock(b, LOCK_EXCLUSIVE, far, 1) == 0,
	   "what is given back can be taken");

	start = time_mono_ns();
	r = ofd_lock_until(a, LOCK_EXCLUSIVE, far, 1, start + 50 * NS_PER_MS);
	ok(r == -ETIMEDOUT && time_mono_ns() - start >= 50 * NS_PER_MS,
	   "waiting ends at the deadline");
	closep(&b);
	r = ofd_lock_until(a, LOCK_EXCLUSIVE, far, 1, start);
	ok(r == 0, "closing gives back; a passed deadline still tries once");
}

struct holder {
	int fd;
};

static void *hold_a_while(void *arg)
{
	const struct holder *h = arg;

	time_sleep_ms(60);
	ofd_unlock(h->fd, 0, 1);
	return NULL;
}

static void test_ofd_wait(void)
{
	cleanup_tmpdir char *dir = tmpdir_new();
	cleanup_free char *path = xasprintf("%s/lock", dir);
	cleanup_fd int a = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cleanup_fd int b = open(path, O_RDWR | O_CLOEXEC);
	struct holder h = {.fd = b};
	pthread_t thread;
	int r;

	r = ofd_try_lock(b, LOCK_EXCLUSIVE, 0, 1);
	pthread_create(&thread, NULL, hold_a_while, &h);
	r = r ? r
	      : ofd_lock_until(a, LOCK_EXCLUSIVE, 0, 1,
			       time_deadline_ms(10000));
	pthread_join(thread, NULL);
	ok(r == 0, "a waiter gets the lock when it is given back");
}

int main(void)
{
	test_ranks();
	test_threads();
	test_ofd();
	test_ofd_wait();
	return tap_done();
}
