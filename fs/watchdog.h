/*
 * Does a worker hang? No request makes one wait for the network, so one that
 * takes long, or one that nobody takes, shows it.
 *
 * Threads: the supervisor's.
 */
#ifndef FS_WATCHDOG_H
#define FS_WATCHDOG_H

#include "fs/handover.h"

struct watchdog {
	uint64_t seen_requests;
	int64_t stuck_since_ns;
};

/* Another worker begins. */
void watchdog_reset(struct watchdog *w, struct handover *h);
/* To be asked every second or so. @limit_ns 0: never. */
bool watchdog_sees_a_hang(struct watchdog *w, const struct handover *h,
			  int64_t now_ns, int64_t limit_ns);

#endif
