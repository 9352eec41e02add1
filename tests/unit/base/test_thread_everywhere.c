/* What is kept per thread is changed in each: here the name. */
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/thread.h"
#include "tests/lib/tap.h"

#define THREADS 20

/* Its runtime has a thread that takes no signals: the others are called. */
#ifdef __SANITIZE_THREAD__
#define RESULT -EBUSY
#else
#define RESULT 0
#endif

static atomic_int calls;
static atomic_bool over;
static sem_t begun;

static int rename_thread(void *arg)
{
	atomic_fetch_add(&calls, 1);
	return prctl(PR_SET_NAME, arg) < 0 ? -1 : 0;
}

static void *wait_in_a_call(void *arg)
{
	char name[16];

	sem_post(&begun);
	while (!atomic_load(&over))
		usleep(1000);
	prctl(PR_GET_NAME, name);
	return strcmp(name, "renamed") ? NULL : arg;
}

int main(void)
{
	pthread_t threads[THREADS];
	int renamed = 0;
	void *value;

	sem_init(&begun, 0, 0);
	for (int i = 0; i < THREADS; i++)
		if (thread_start(&threads[i], "waits", wait_in_a_call, &over))
			return 1;
	for (int i = 0; i < THREADS; i++)
		sem_wait(&begun);
	is_int(thread_everywhere(rename_thread, (void *)"renamed"), RESULT,
	       "every thread is called");
	atomic_store(&over, true);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &value);
		renamed += value != NULL;
	}
	is_int(renamed, THREADS, "in itself");
	is_int(atomic_load(&calls), THREADS + 1, "once");
	return tap_done();
}
