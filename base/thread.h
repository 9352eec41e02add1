/*
 * Threads of ours. They leave every signal to the threads that wait for one;
 * only faults of their own reach them. Create them after the last fork().
 */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <signal.h>

/* Only thread_everywhere() sends it. */
#define EVERYWHERE_SIGNAL SIGRTMAX

/* @name (≤ 15 bytes) shows in ps -L. 0 or -errno. */
int thread_start(pthread_t *ret, const char *name, void *(*fn)(void *arg),
		 void *arg);

/* The end of a program that has no way on without a thread, for the -errno that
 * thread_start() returned: as without memory, it says so and aborts. */
void thread_lacking(int r) __attribute__((noreturn));

/*
 * Call @fn in each thread of the process, this one first: for what the kernel
 * keeps per thread. In the others it runs in a signal's handler, so it may
 * only make system calls. The return value is 0, the first -errno of @fn, or
 * -EBUSY when a thread did not get to it. Once per process.
 */
int thread_everywhere(int (*fn)(void *arg), void *arg);

/* CPUs this process may use: affinity and cgroup quota, at least 1. */
unsigned cpu_count(void);

#endif
