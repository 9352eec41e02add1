/*
 * What the files of the fetcher share. Not for others.
 *
 * One mutex (struct fetcher, rank LOCK_FETCH) guards queues, waiters, runs and
 * sources. It is never held across the network, the disk or a callback: what
 * must happen outside is left on two lists of the fetcher (`told`, `dead`) and
 * done by fetcher_unlock().
 *
 * A *run* is a row of adjacent chunks of one source that one thread fetches
 * with one request. Its chunks belong to it alone until it ends, which is what
 * makes each chunk be fetched once:
 *
 *   QUEUED ──thread──▶ FLYING ──▶ gone (all chunks there, or failed)
 *      ▲                  │ another process holds the claim
 *      └──── timer ── PARKED
 *
 * Only a run whose request stalls may get a *second* one for the same chunks
 * (fetch_hedge.c). The run that first has a whole, right chunk has them all
 * from then on; the other is cancelled.
 */
#ifndef ENGINE_FETCH_INTERNAL_H
#define ENGINE_FETCH_INTERNAL_H

#include <stdatomic.h>
#include <sys/queue.h>

#include "base/lock.h"
#include "base/map.h"
#include "engine/fetch.h"
#include "engine/fetch_memory.h"
#include "engine/tensors.h"

#define FETCH_THREADS      8
#define FETCH_EXTRA        2  /* threads kept free for demand */
#define FETCH_STREAMS      8  /* sequential readers told apart, per source */
#define FETCH_AHEAD_MAX    16 /* chunks of read-ahead */
#define FETCH_DEMAND_MAX   16 /* chunks of one demand run */
#define FETCH_WHOLE_MAX    64 /* chunks of a source fetched by one request */
#define FETCH_PART_MAX     32 /* chunks of one background run of a larger one */
#define FETCH_PART_MIN     8
#define FETCH_OVERTAKE     8  /* chunks a reader waits for inside a long run */
#define FETCH_FAILURES_MAX 64 /* remembered per source */
#define FETCH_FAILURE_NS   NS_PER_S
#define FETCH_SYNC_BYTES   (256u << 20)
#define FETCH_HASH_BYTES   (16u << 20) /* of a source that is wanted whole */
#define FETCH_SYNC_NS      NS_PER_S
#define FETCH_YIELD_NS     (NS_PER_S / 2)  /* to readers, between two chunks */
#define FETCH_CLAIM_NS     (20 * NS_PER_S) /* without progress by its holder */
#define FETCH_LINE_RUNS    8               /* of a line, queued or flying */
#define FETCH_ROUNDS_MAX   5
#define FETCH_REFUSED_MAX  20  /* chunks that came and could not be stored */
#define FETCH_TENSOR_MAX   64  /* chunks of a tensor that are read ahead */
#define FETCH_TENSOR_RUNS  16  /* of them that wait for a thread */
#define FETCH_TENSOR_SPARE 2   /* threads that are left to other read-ahead */
#define FETCH_PACE         128 /* requests whose silences are remembered */
#define FETCH_HEDGE_COST   20  /* requests, for one that is hedged */
#define FETCH_SECONDS_MAX  2   /* stalled runs asked for again, at a time */

/* In this order. FETCH_TENSOR: read-ahead of a whole tensor. */
enum fetch_class { FETCH_DEMAND, FETCH_AHEAD, FETCH_TENSOR, FETCH_BACKGROUND };
enum fetch_state { FETCH_QUEUED, FETCH_FLYING, FETCH_PARKED };

struct fetch_run {
	TAILQ_ENTRY(fetch_run) by_source;
	TAILQ_ENTRY(fetch_run) link; /* in a queue, or parked */
	struct fetch_source *source; /* a reference */
	struct fetch_line *line;     /* a reference; NULL */
	enum fetch_class class;
	enum fetch_state state;
	uint32_t pos, end; /* chunks still wanted */
	unsigned refused;  /* chunks, while it was being sealed elsewhere */
	bool started;      /* its request is under way: may be cut short */
	bool low;          /* its thread is one of those of n_low */
	atomic_bool cancel;
	uint32_t claim_first, claim_end;
	/* Since when nothing comes; 0: not waiting for the network. */
	atomic_int_fast64_t silent_ns;
	bool second; /* asked for again, and the first may still win */
	struct fetch_run *other; /* the one that brings the same; NULL */
	/* Parked: */
	int64_t next_try_ns, pause_ns, alone_ns;
	bool alone; /* waited long enough: fetch without a claim */
};
TAILQ_HEAD(fetch_runs, fetch_run);

struct fetch_waiter {
	TAILQ_ENTRY(fetch_waiter) by_source;
	TAILQ_ENTRY(fetch_waiter) link; /* by deadline, or told */
	uint64_t ticket;
	struct fetch_source *source; /* a reference */
	uint32_t first, end;
	int64_t deadline_ns;
	bool cancelled;
	fetch_done_fn done;
	void *ctx;
	int result;
	struct error *err;
};
TAILQ_HEAD(fetch_waiters, fetch_waiter);

/* A failure that is answered without asking again. */
struct fetch_failure {
	uint32_t first, end;
	int64_t until_ns;
	struct error *err;
};

/* A sequential reader of a source. */
struct fetch_stream {
	uint32_t next;   /* chunk after the last one read */
	uint32_t window; /* chunks */
	uint32_t asked;  /* read ahead up to here */
	uint64_t used;
};

/* One caller of fetch_whole() and one of its sources. */
struct fetch_whole {
	struct cond cond;
	size_t pending;
	int result;
	struct error *err;
};
struct fetch_whole_item {
	TAILQ_ENTRY(fetch_whole_item) link;
	struct fetch_whole *whole;
	struct fetch_source *source; /* a reference */
	bool waiting;
};
TAILQ_HEAD(fetch_whole_items, fetch_whole_item);

/* A chunk list, shared by all sources of one (digest, size, list): contents
 * are shared within the process and refer to it. */
struct fetch_grid {
	struct digest key;
	unsigned refs;
	struct digest *chunks; /* NULL when size ≤ CHUNK_SIZE */
};

/* fetch_line.c */
struct fetch_line {
	LIST_ENTRY(fetch_line) link;
	struct fetcher *f;
	unsigned refs; /* its owner and each run */
	unsigned runs;
	struct cond cond;
	int result;
	struct error *err;
};
LIST_HEAD(fetch_lines, fetch_line);

enum fetch_chore { FETCH_CHORE_NONE, FETCH_CHORE_QUEUED, FETCH_CHORE_RUNNING };

/* fetch_tensors.c */
#define FETCH_TABLES_MAX (8u << 20) /* bytes, of all files that are open */

enum fetch_weights_state {
	FETCH_WEIGHTS_NONE,
	FETCH_WEIGHTS_ASKED, /* its header is on its way */
	FETCH_WEIGHTS_KNOWN, /* or cannot be read */
};

struct fetch_source {
	struct fetcher *fetcher; /* a reference */
	unsigned refs;
	struct digest key;
	TAILQ_ENTRY(fetch_source) dead;

	/* Immutable. */
	enum tree_source_kind kind;
	struct digest digest;
	uint64_t size;
	uint32_t n_chunks;
	struct fetch_grid *grid;
	struct content *content;
	struct registry *registry;
	const struct object_stores *stores;
	char *repo;
	struct fetch_part *parts;
	uint32_t n_parts;
	char *uri;

	/* Under the fetcher's lock. */
	struct fetch_runs runs;
	struct fetch_waiters waiters;
	struct fetch_failure *failures; /* room for FETCH_FAILURES_MAX */
	unsigned n_failures;
	struct error *fault; /* the bundle is wrong: for good */
	struct fetch_stream streams[FETCH_STREAMS];
	uint64_t stream_clock;
	enum fetch_weights_state weights;
	struct tensors *tensors;      /* NULL, or as its header says */
	unsigned char *tensors_asked; /* a bit for each */
	bool contacted;               /* the external's validator is known */
	char validator[128];

	/* fetch_whole() */
	struct fetch_whole_items wholes;
	TAILQ_ENTRY(fetch_source) whole_link;
	uint32_t whole_next; /* carve runs from here */
	unsigned rounds;

	/* Chores: syncing what was put, sealing. */
	TAILQ_ENTRY(fetch_source) chore_link, dirty_link;
	enum fetch_chore chore;
	bool want_seal, dirty;
	bool sealed;      /* or, a small one, going to be with its group */
	bool seal_failed; /* not tried again before someone asks for the whole */
	int64_t seal_at_ns, seal_pause_ns; /* not before, after -EAGAIN */
	uint64_t unsynced, unhashed;
	int64_t unsynced_since_ns;
};
TAILQ_HEAD(fetch_sources, fetch_source);

/* How long requests of late were silent, at the longest. */
struct fetch_pace {
	int64_t silences_ns[FETCH_PACE];
	unsigned n;       /* noted; beyond the size, modulo it */
	int64_t limit_ns; /* 0: the first ones */
};

struct fetcher {
	struct mutex lock;
	struct cond work, timer, answered;
	unsigned refs; /* the owner and every source */
	struct cache *cache;
	struct fetch_memory *memory;
	int64_t io_ms;
	pthread_t *threads;
	unsigned n_threads, n_low, max_low;
	pthread_t timer_thread;
	bool closing;

	struct map sources, grids;
	struct fetch_runs seconds, demand, ahead, tensors, background, parked,
		flying;
	int64_t held_since_ns; /* background, for readers; 0: it is not */
	struct fetch_sources wholes, chores, dirty;
	struct fetch_lines lines;
	struct fetch_waiters by_time;
	unsigned n_cancelled;      /* waiters that the timer is to end */
	int64_t timer_due_ns;      /* when it looks next */
	struct fetch_pace pace[2]; /* of registries, of object stores */
	unsigned n_seconds, hedge_credit;
	/* While a header is parsed, which takes much more than it keeps. */
	struct mutex header;
	atomic_size_t tensor_bytes; /* of all sources' tables */
	uint64_t next_ticket;
	atomic_bool disk_full; /* the last chunk could not be stored */

	/* Left for fetcher_unlock(). */
	struct fetch_waiters told;
	struct fetch_sources dead;

	struct fetch_counters own;
	struct fetch_counters *counted; /* own, or the caller's */
	atomic_uint_fast64_t in_flight;
};

static inline void fetcher_lock(struct fetcher *f) ACQUIRES(f->lock)
{
	mutex_lock(&f->lock);
}
/* Unlock, then call what was told and destroy what is dead. */
void fetcher_unlock(struct fetcher *f) RELEASES(f->lock);

/* fetch_source.c; all of these under the lock unless said. */
struct fetch_source *fetch_source_ref_locked(struct fetch_source *s);
void fetch_source_unref_locked(struct fetch_source *s);
/* Not under the lock. */
void fetch_source_destroy(struct fetch_source *s);
void fetcher_unref(struct fetcher *f);
struct fetch_key fetch_chunk_key(const struct fetch_source *s, uint32_t i);
/* Deliver bytes of the source's stream; blocks, not under the lock. */
int fetch_source_pull(struct fetch_source *s, uint64_t off, uint64_t len,
		      struct sink *sink, const struct op *op,
		      struct error **errp);

/* fetch_local.c */
/* The chunks that must be there before @r can be read: [first, end). */
void fetch_range_chunks(const struct fetch_range *r, uint32_t *ret_first,
			uint32_t *ret_end);
/* -EINVAL: it is not inside its source and its file. */
int fetch_range_check(const struct fetch_range *r, struct error **errp);

/* fetch_queue.c, all under the lock. */
bool fetch_chunk_ready_locked(struct fetch_source *s, uint32_t i);
struct fetch_run *fetch_run_covering_locked(struct fetch_source *s, uint32_t i);
struct fetch_run *fetch_run_new_locked(struct fetch_source *s, uint32_t first,
				       uint32_t end, enum fetch_class class);
void fetch_run_enqueue_locked(struct fetch_run *run, bool front);
void fetch_run_free_locked(struct fetch_run *run);
void fetch_demand_locked(struct fetch_source *s, uint32_t i);
void fetch_note_locked(struct fetch_source *s, uint32_t first, uint32_t end);
/* Can anything be fetched now that nobody waits for? */
bool fetch_can_ahead_locked(const struct fetch_source *s);
/* Queue what is missing of [first, end) in pieces of @max chunks. */
void fetch_ahead_locked(struct fetch_source *s, uint32_t first, uint32_t end,
			uint32_t max, enum fetch_class class);

/* fetch_hedge.c, all under the lock. */
/* The longest silence of a request that brought something. */
void fetch_pace_note_locked(const struct fetch_source *s, int64_t ns);
/* A request begins: the timer is to watch it. */
void fetch_watch_locked(struct fetch_run *run);
/* Hedge what stalls. Returns when to look again, or TIME_NEVER. */
int64_t fetch_hedge_locked(struct fetcher *f, int64_t now);
/* A right chunk of @run is there. False: the other one was first. */
bool fetch_race_won_locked(struct fetch_run *run);
/* @run cannot bring the rest. True: the other one may. */
bool fetch_race_left_locked(struct fetch_run *run);
/* @run's thread has done with it. */
void fetch_race_over_locked(struct fetch_run *run);

/* fetch_tensors.c, under the lock. */
/* Bytes [@off, @off + @len) of @s were missing. */
void fetch_tensors_ahead_locked(struct fetch_source *s, uint64_t off,
				uint64_t len);
void fetch_tensors_drop_locked(struct fetch_source *s);

/* fetch_line.c, all under the lock. */
/* Another run of the line that @run is of, if it is of one. */
void fetch_line_add_locked(struct fetch_line *l, struct fetch_run *run);
void fetch_line_gone_locked(struct fetch_run *run);
void fetch_line_failed_locked(struct fetch_line *l, int result,
			      const struct error *err);
void fetch_lines_wake_locked(struct fetcher *f);

/* fetch_wait.c, all under the lock. */
void fetch_waiter_finish_locked(struct fetch_waiter *w, int result,
				const struct error *err);
/* Chunks [first, end) are there, or will not come from where they were awaited:
 * answer who is whole, ask again for who is not. */
void fetch_waiters_look_locked(struct fetch_source *s, uint32_t first,
			       uint32_t end);
struct fetch_waiter *fetch_waiter_new_locked(struct fetch_source *s,
					     uint32_t first, uint32_t end,
					     fetch_done_fn done, void *ctx);
void fetch_waiters_fail_locked(struct fetch_source *s, uint32_t first,
			       uint32_t end, int result,
			       const struct error *err);
bool fetch_waited_for_locked(struct fetch_source *s, uint32_t first,
			     uint32_t end);
const struct error *fetch_failure_locked(struct fetch_source *s, uint32_t i);
void fetch_failure_add_locked(struct fetch_source *s, uint32_t first,
			      uint32_t end, const struct error *err);
void fetch_failures_clear_locked(struct fetch_source *s);

/* fetch_whole.c, all under the lock. */
struct fetch_run *fetch_carve_locked(struct fetcher *f);
void fetch_whole_finish_locked(struct fetch_source *s, int result,
			       const struct error *err);
/* Something of @s ended: seal it, go round again, or nothing. */
void fetch_source_advance_locked(struct fetch_source *s);

/* fetch_chore.c */
void fetch_chore_add_locked(struct fetch_source *s);
/* The timer looks after it until there is nothing left to do. */
void fetch_dirty_locked(struct fetch_source *s);
void fetch_put_noted_locked(struct fetch_source *s, uint32_t len);
/* Without the lock; the chore's reference is given up. */
void fetch_chore_run(struct fetch_source *s);

/* fetch_job.c and fetch_timer.c: bodies of the threads. */
void *fetch_thread(void *arg);
void *fetch_timer_thread(void *arg);

#endif
