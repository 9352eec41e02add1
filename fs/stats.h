/*
 * What a mount counts, for status and metrics: in memory that one worker leaves
 * to the next (handover.h), since a counter that falls is a lie. What a worker
 * did and was killed over before it answered is done, and counted, again.
 *
 * An upgrade goes on with what an older program counted. So what is new goes to
 * the end, operations and sites, too, whose arrays have room for more; and
 * where all of this lies is fixed by handover.h.
 *
 * Threads: any.
 */
#ifndef FS_STATS_H
#define FS_STATS_H

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>

#include "engine/fetch.h"
#include "fs/errors.h"

enum fs_op {
	OP_LOOKUP,
	OP_GETATTR,
	OP_READLINK,
	OP_READDIR,
	OP_OPEN,
	OP_READ,
	OP_GETXATTR,
	OP_LISTXATTR,
	OP_STATFS,
	OP_REFUSED, /* whatever would change the bundle */
	OP_END
};
extern const char *const fs_op_names[OP_END];

/* How long reads took, from request to answer: bucket i counts those below
 * 2^i × 16 µs; the last one counts the rest. */
#define LATENCY_BUCKETS 24

#define OPS_ROOM   32u
#define SITES_ROOM 64u
static_assert(OP_END <= OPS_ROOM && SITE_END <= SITES_ROOM, "they have room");

struct fs_stats {
	atomic_uint_fast64_t ops[OPS_ROOM];
	atomic_uint_fast64_t bytes;       /* answered to reads */
	atomic_uint_fast64_t misses;      /* reads that had to be parked */
	atomic_uint_fast64_t interrupted; /* freed with EINTR */
	atomic_uint_fast64_t passthrough_opens, cached_opens;
	atomic_uint_fast64_t latency[LATENCY_BUCKETS];
	atomic_uint_fast64_t failures[SITES_ROOM];
	atomic_uint_fast64_t filled_files, filled_bytes; /* filler.h */
	atomic_uint_fast64_t read_ns; /* of all that the latencies count */
};

static inline void stat_add(atomic_uint_fast64_t *n, uint64_t by)
{
	atomic_fetch_add_explicit(n, by, memory_order_relaxed);
}

static inline uint64_t stat_get(const atomic_uint_fast64_t *n)
{
	return atomic_load_explicit(n, memory_order_relaxed);
}

#endif
