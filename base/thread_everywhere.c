#include <dirent.h>
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/thread.h"

#define PATIENCE_S 5
#define MAX_TASKS  4096u

/* The signal's handler has no other way to them. */
static struct {
	int (*fn)(void *arg);
	void *arg;
	sem_t done;
	atomic_int r;
} call;

struct seen {
	pid_t tids[MAX_TASKS];
	size_t n;
};

static void make_call(void)
{
	int none = 0;
	int r = call.fn(call.arg);

	if (r < 0)
		atomic_compare_exchange_strong(&call.r, &none, r);
}

static void handle(int sig, siginfo_t *info, void *context)
{
	int keep = errno;

	if (info->si_code != SI_TKILL || info->si_pid != getpid())
		return;
	make_call();
	sem_post(&call.done);
	errno = keep;
}

static bool is_new(struct seen *s, pid_t tid)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->tids[i] == tid)
			return false;
	if (s->n < MAX_TASKS)
		s->tids[s->n++] = tid;
	return true;
}

/* One that ended first made no call and needs none. */
static int call_in(pid_t tid)
{
	struct timespec until;

	if (syscall(SYS_tgkill, getpid(), tid, EVERYWHERE_SIGNAL) < 0)
		return errno == ESRCH ? 0 : -errno;
	clock_gettime(CLOCK_REALTIME, &until);
	for (int i = 0; i < PATIENCE_S * 100; i++) {
		until.tv_nsec += 10000000;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		if (sem_timedwait(&call.done, &until) == 0)
			return 0;
		if (syscall(SYS_tgkill, getpid(), tid, 0) < 0 && errno == ESRCH)
			return 0;
	}
	return -EBUSY;
}

/* 1: there were threads that this had not seen yet. One that did not get to it
 * is noted, and the others are called all the same. */
static int call_in_new(struct seen *s, int *failed)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;
	int found = 0;

	if (!d)
		return -errno;
	while ((e = readdir(d))) {
		pid_t tid = (pid_t)strtol(e->d_name, NULL, 10);
		int r;

		if (tid <= 0 || !is_new(s, tid))
			continue;
		if (s->n == MAX_TASKS) {
			closedir(d);
			return -EBUSY;
		}
		found = 1;
		r = call_in(tid);
		if (*failed == 0)
			*failed = r;
	}
	closedir(d);
	return found;
}

/* A thread that is made meanwhile has what its maker had: seen in a later
 * round, for its maker may not have been called yet. */
int thread_everywhere(int (*fn)(void *arg), void *arg)
{
	struct sigaction action = {.sa_sigaction = handle,
				   .sa_flags = SA_RESTART | SA_SIGINFO};
	cleanup_free struct seen *s = xcalloc(1, sizeof(*s));
	int failed = 0;
	int r;

	call.fn = fn;
	call.arg = arg;
	if (sem_init(&call.done, 0, 0) < 0 ||
	    sigaction(EVERYWHERE_SIGNAL, &action, NULL) < 0)
		return -errno;
	make_call();
	is_new(s, (pid_t)syscall(SYS_gettid));
	do
		r = call_in_new(s, &failed);
	while (r > 0);
	if (r == 0)
		r = failed;
	return r < 0 ? r : atomic_load(&call.r);
}
