/*
 * What one worker of a mount leaves to the next, in memory that the supervisor
 * shares with them: a worker may be killed at any instruction.
 *
 * The kernel says INIT once, so its bytes are kept for each worker's session.
 * Inodes and reads need no memory at all (see mount.h). What the kernel
 * remembers of an open file does: whether it was passed through, with which
 * backing id, and how many opens of it are left. An open has the number of the
 * request that asked for it as its handle, so that an OPEN or a RELEASE that
 * was served, but not answered, before the worker died, and is then asked
 * again, counts once. An opener that dies at just that moment leaves an entry
 * for ever: its file keeps the path it has.
 *
 * Each word is written so that half of a change means nothing: the key that
 * makes an entry valid comes last, and goes first.
 *
 * Threads: any; the open files with the lock of open.c.
 */
#ifndef FS_HANDOVER_H
#define FS_HANDOVER_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/error.h"
#include "fs/mountinfo.h"
#include "fs/record.h"
#include "fs/stats.h"

/* Of everything in the table: another layout needs another number, and a mount
 * is upgraded between programs of one number only. */
#define HANDOVER_MAGIC   "mopsfs:7"
#define HANDOVER_INIT    512
#define HANDOVER_LOOPS   16u
#define HANDOVER_BACKING 4096u
#define HANDOVER_OPENS   (1u << 20)

struct handover_open {
	uint64_t ino;
	atomic_uint_fast64_t handle; /* 0: free */
};

struct handover_backing {
	uint64_t ino;
	atomic_int id; /* 0: free */
};

/* Sparse: of the open files and the recording only what was ever used is there. */
struct handover_table {
	char magic[8];
	/* By the first worker. */
	unsigned char init[HANDOVER_INIT]; /* the kernel's request, whole */
	uint32_t init_len;
	struct digest manifest;
	struct mount_identity identity; /* all 0: not mounted yet */
	bool passthrough;               /* to tell the supervisor */
	bool cloned; /* each worker has a clone of the device */
	atomic_bool prefetch_paused;
	uint32_t want; /* what was agreed with the kernel */
	int64_t started_wall_s;
	/* By the supervisor. */
	uint32_t restarts;
	char last_end[64]; /* why the last one was needed */
	/* For its watchdog. */
	atomic_uint_fast64_t requests;               /* taken */
	atomic_int_fast64_t busy_ns[HANDOVER_LOOPS]; /* since; 0: idle */

	/* Both may grow at their ends (stats.h) without another version. */
	union {
		struct fs_stats stats;
		char stats_room[2048];
	};
	union {
		struct fetch_counters fetch;
		char fetch_room[512];
	};
	struct handover_backing backing[HANDOVER_BACKING];
	atomic_uint_fast32_t n_opens; /* entries ever used */
	struct handover_open opens[HANDOVER_OPENS];
	struct record_table record;
};
static_assert(sizeof(void *) != 8 ||
		      (offsetof(struct handover_table, backing) == 3360 &&
		       offsetof(struct handover_table, record) == 16846120),
	      "whoever moves these changes HANDOVER_MAGIC");

struct handover {
	struct handover_table *table;
	int memory;   /* the table's */
	int device;   /* /dev/fuse, or a clone; -1 until there is a mount */
	int listener; /* the status socket; -1 */
	int lease;    /* the supervisor's alone: held between workers; -1 */
	bool successor;
	/* Which mount, as the supervisor was told once: what the table has,
	 * every worker can write. All 0: there is none yet. */
	struct mount_identity identity;
	/* Was that agreed with the kernel? Told once, as well. */
	bool passthrough;
	uint32_t full; /* the first so many opens are in use */
};

/* An empty one. */
int handover_make(struct handover *h, struct error **errp);
/* Map what @h->memory has: -EPROTO when another version wrote it. */
int handover_map(struct handover *h, struct error **errp);

/* Does the kernel that sent this INIT ask again what a dead worker took
 * (Linux 6.9)? */
bool handover_can_resend(const struct handover_table *t);
/* Ask it to. 0 or -errno. */
int handover_resend(int device);
/*
 * For other kernels: a descriptor of the same connection, or -errno. What was
 * read from it and not answered fails (ECONNABORTED) when it is closed, while
 * the connection lives on with @device. So its only holder is a worker: else
 * what a dead one was asked would wait for ever.
 */
int handover_clone(int device);
/* Can there be another worker after this one? */
bool handover_can_go_on(const struct handover_table *t);

/* Around each request, by the loop of that number. */
void handover_begin(struct handover *h, unsigned loop, const void *request);
void handover_end(struct handover *h, unsigned loop);
/* The number of the request that this thread serves. */
uint64_t handover_request(void);

/* False: there is no room. */
bool handover_backing_set(struct handover *h, uint64_t ino, int id);
void handover_backing_clear(struct handover *h, uint64_t ino);
/* Entry number, or -1: no room. */
int64_t handover_open_add(struct handover *h, uint64_t ino, uint64_t handle);
void handover_open_del(struct handover *h, int64_t entry);

#endif
