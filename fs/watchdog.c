#include "fs/watchdog.h"

#include <poll.h>

void watchdog_reset(struct watchdog *w, struct handover *h)
{
	for (size_t i = 0; i < HANDOVER_LOOPS; i++)
		atomic_store(&h->table->busy_ns[i], 0);
	w->stuck_since_ns = 0;
}

static bool requests_wait(struct watchdog *w, const struct handover *h,
			  int64_t now, int64_t limit)
{
	struct pollfd p = {.fd = h->device, .events = POLLIN};
	uint64_t n = atomic_load(&h->table->requests);

	if (poll(&p, 1, 0) <= 0 || !(p.revents & POLLIN) ||
	    n != w->seen_requests || !w->stuck_since_ns)
		w->stuck_since_ns = now;
	w->seen_requests = n;
	return now - w->stuck_since_ns > limit;
}

static bool a_loop_is_stuck(const struct handover *h, int64_t now,
			    int64_t limit)
{
	for (size_t i = 0; i < HANDOVER_LOOPS; i++) {
		int64_t since = atomic_load(&h->table->busy_ns[i]);

		if (since && now - since > limit)
			return true;
	}
	return false;
}

bool watchdog_sees_a_hang(struct watchdog *w, const struct handover *h,
			  int64_t now_ns, int64_t limit_ns)
{
	bool waits = requests_wait(w, h, now_ns, limit_ns);

	return limit_ns && (waits || a_loop_is_stuck(h, now_ns, limit_ns));
}
