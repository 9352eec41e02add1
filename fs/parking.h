/*
 * Reads that wait. What is local and verified is answered at once (read.c); else
 * the request is *parked*: the FUSE worker goes on, and whoever gets there first
 * answers it.
 *
 *   op_read ──local──▶ answered
 *      │
 *      └──▶ parked ──fetched──▶ read again ──▶ answered
 *             │                    └─ gone again: asked once more, 3 times
 *             ├── fetch failed ────────────▶ EIO, EACCES, ESTALE
 *             ├── caller is dying ─────────▶ EINTR   (signals.c)
 *             ├── deadline passed ─────────▶ EIO     (signals.c)
 *             └── the mount is taken down ─▶ EIO
 *
 * Every parked request is answered exactly once; its memory lives until both
 * the fetcher has called back and the asking thread has let go.
 *
 * Threads: any.
 */
#ifndef FS_PARKING_H
#define FS_PARKING_H

#include "fs/mount.h"

struct parking;

/* Starts the watcher thread of signals.c. */
struct parking *parking_new(struct mount *m);
/* Answer all that is parked with EIO, cancel, wait at most @ms for the fetcher
 * to let go. False: it did not, and the process must end by _exit(). */
bool parking_stop(struct parking *p, int64_t ms);
/* After parking_stop() returned true. */
void parking_free(struct parking *p);

/* A request whose bytes are not here. Takes over the hold on the source, which
 * is @range's. */
void park(struct mount *m, fuse_req_t req, fuse_ino_t ino,
	  const struct fetch_range *range, uint32_t source, int64_t since_ns);

size_t parking_count(struct parking *p);

/* A parked request as the watcher sees it. */
struct parked_view {
	uint64_t id;
	pid_t pid;
	bool interrupted; /* the kernel said so */
	bool overdue;
};
/*
 * The requests that are to be looked at now: interrupted, parked for a while,
 * or overdue. Copies at most @max; each is then left alone for a while.
 */
size_t parking_due(struct parking *p, int64_t now_ns, struct parked_view *ret,
		   size_t max);
/* Wait until something is parked and, after that, one tick or an interrupt.
 * False: stopping. */
bool parking_wait(struct parking *p);
/* Answer one of them with EINTR: its caller is dying. */
void parking_interrupt(struct parking *p, uint64_t id, pid_t pid);
/* Answer one of them with EIO: its time is up. */
void parking_expire(struct parking *p, uint64_t id);

#endif
