#include "fs/signals.h"

#include "base/alloc.h"
#include "base/thread.h"
#include "base/time.h"
#include "fs/callers.h"
#include "fs/parking.h"

/* Callers looked at in one round. */
#define ROUND_MAX 256

struct watcher {
	pthread_t thread;
	struct parking *parking;
};

static int by_pid(const void *a, const void *b)
{
	const struct parked_view *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

/*
 * A caller in a foreign pid namespace is 0 to us: nobody to look at. Then the
 * kernel's interrupt alone has to do.
 */
static void look(struct parking *p, struct parked_view *v, size_t n)
{
	bool dying = false;

	qsort(v, n, sizeof(*v), by_pid);
	for (size_t i = 0; i < n; i++) {
		if (v[i].overdue) {
			parking_expire(p, v[i].id);
			continue;
		}
		if (i == 0 || v[i].pid != v[i - 1].pid || v[i - 1].overdue)
			dying = v[i].pid && caller_is_dying(v[i].pid);
		if (!v[i].pid)
			dying = v[i].interrupted;
		if (dying)
			parking_interrupt(p, v[i].id, v[i].pid);
	}
}

static void *watch(void *arg)
{
	struct watcher *w = arg;
	struct parked_view due[ROUND_MAX];

	while (parking_wait(w->parking)) {
		size_t n = parking_due(w->parking, time_mono_ns(), due,
				       ARRAY_SIZE(due));

		look(w->parking, due, n);
	}
	return NULL;
}

struct watcher *watcher_start(struct parking *p)
{
	struct watcher *w = xcalloc(1, sizeof(*w));
	int r;

	w->parking = p;
	r = thread_start(&w->thread, "watcher", watch, w);
	if (r < 0)
		thread_lacking(r);
	return w;
}

void watcher_join(struct watcher *w)
{
	pthread_join(w->thread, NULL);
	free(w);
}
