#include "base/thread.h"

#include <assert.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/io.h"

struct start {
	void *(*fn)(void *arg);
	void *arg;
	char name[16];
};

/* It names itself: for another one's name a file is written, which a sandbox
 * may forbid. */
static void *begin(void *arg)
{
	struct start s = *(struct start *)arg;

	free(arg);
	pthread_setname_np(pthread_self(), s.name);
	return s.fn(s.arg);
}

int thread_start(pthread_t *ret, const char *name, void *(*fn)(void *arg),
		 void *arg)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
	struct start *s;
	sigset_t all, before;
	int r;

	assert(strlen(name) <= 15);
	s = xcalloc(1, sizeof(*s));
	*s = (struct start){.fn = fn, .arg = arg};
	memcpy(s->name, name, strlen(name));
	sigfillset(&all);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		sigdelset(&all, faults[i]);
	sigdelset(&all, EVERYWHERE_SIGNAL);
	/* The mask is inherited: set it here, or a signal could come first. */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(ret, NULL, begin, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r)
		free(s);
	return -r;
}

void thread_lacking(int r)
{
	fprintf(stderr, "no thread to be had: %s\n", strerror(-r));
	abort();
}

static unsigned affinity_count(void)
{
	/* Machines with more than CPU_SETSIZE need a larger set. */
	for (size_t n = CPU_SETSIZE; n <= 1 << 20; n *= 2) {
		cpu_set_t *set = CPU_ALLOC(n);
		size_t size = CPU_ALLOC_SIZE(n);
		int count = 0;

		if (set && sched_getaffinity(0, size, set) == 0)
			count = CPU_COUNT_S(size, set);
		CPU_FREE(set);
		if (count > 0)
			return (unsigned)count;
	}
	return 1;
}

/* What cpu.max of one cgroup allows, rounded up; @dflt when it says nothing. */
static unsigned quota_count(const char *cgroup, unsigned dflt)
{
	cleanup_free char *path = xasprintf("/sys/fs/cgroup%s/cpu.max", cgroup);
	cleanup_free char *text = NULL;
	unsigned long long quota, period;
	size_t len;

	if (io_read_file(AT_FDCWD, path, 256, &text, &len) < 0 ||
	    sscanf(text, "%llu %llu", &quota, &period) != 2 || !period)
		return dflt;
	quota = quota / period + (quota % period != 0);
	return quota < dflt ? MAX((unsigned)quota, 1u) : dflt;
}

unsigned cpu_count(void)
{
	unsigned n = affinity_count();
	cleanup_free char *text = NULL;
	char *cgroup, *end;
	size_t len;

	/* "0::/a/b": a limit may stand at any step up to the root. */
	if (io_read_file(AT_FDCWD, "/proc/self/cgroup", 1 << 16, &text, &len) <
	    0)
		return n;
	cgroup = strstr(text, "0::/");
	if (!cgroup)
		return n;
	cgroup += 3;
	cgroup[strcspn(cgroup, "\n")] = '\0';
	while ((end = strrchr(cgroup, '/'))) {
		n = quota_count(cgroup, n);
		*end = '\0';
	}
	return quota_count("", n);
}
