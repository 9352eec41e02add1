/*
 * The fetcher: brings chunks of sources into the cache, verified, each once.
 *
 * All remote content of a bundle (trees, packs, file blobs, runs of parts,
 * externals) is a *source* seen on one grid of chunks. Whoever needs bytes asks
 * for a range; what is missing is fetched by a small set of threads in runs of
 * adjacent chunks, demand before background, and every waiter whose range is
 * whole is told. Callers never wait unless they ask to.
 *
 *   absent ──ask──▶ queued ──thread──▶ in flight ──put ok──▶ present
 *                      ▲                   │ bad bytes: once more, fresh
 *                      └──── claimed elsewhere, gone ──┘ then failed
 *
 * A failure is told to its waiters and kept for 1 s, so that a mount under a
 * dead network answers quickly without asking it again for each page.
 *
 * When the cache's disk is full the chunk is served from memory, never EIO.
 *
 * Verified memory: what readers get is copied from buffers whose very bytes
 * were hashed (chunk against the tree's chunk list, or a packed file against
 * its own SHA-256), kept in a small LRU.
 *
 * Threads: any. Callbacks come on a fetch thread, without locks held, and must
 * not wait for a fetch.
 */
#ifndef ENGINE_FETCH_H
#define ENGINE_FETCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/op.h"
#include "cache/content.h"
#include "engine/tensors.h"
#include "engine/tree.h"
#include "storage/object_store.h"
#include "storage/registry.h"

/* Where a bundle's bytes come from. Borrowed; outlives the sources. */
struct remote {
	struct registry *registry; /* NULL: offline */
	const char *repo;
	const struct object_stores *stores; /* NULL: offline */
};

struct fetcher;

struct fetcher_options {
	struct cache *cache;
	unsigned threads; /* 0: 8 */
	int64_t io_ms;    /* deadline of one demand read; INT64_MAX: hard */
	size_t memory;    /* bytes of verified chunks kept; 0: 64 MiB */
};

struct fetcher *fetcher_new(const struct fetcher_options *o);
/* Ends what is in flight, tells every waiter -ECANCELED, joins. */
void fetcher_free(struct fetcher *f);

struct fetch_part { /* a run's parts, in stream order */
	struct digest digest;
	uint64_t size;
};

struct fetch_source;

struct fetch_source_spec {
	const struct remote *remote;
	enum tree_source_kind kind; /* trees are TREE_SOURCE_BLOB */
	struct content_spec content;
	const struct fetch_part *parts; /* copied */
	uint32_t n_parts;
	const char *uri; /* TREE_SOURCE_EXTERNAL; copied */
	uint32_t uri_len;
};
/* A new reference. Sources with one (digest, chunk list, remote) share work. */
int fetch_source_open(struct fetcher *f, const struct fetch_source_spec *spec,
		      struct fetch_source **ret, struct error **errp);
void fetch_source_close(struct fetch_source *s);
struct content *fetch_source_content(struct fetch_source *s);

/* What a reader wants: bytes of a file that is a range of a source. */
struct fetch_range {
	struct fetch_source *source;
	uint64_t off; /* in the source */
	size_t len;
	/* A file inside a pack that is ≤ CHUNK_SIZE may be checked as a whole
	 * against its own digest instead of by chunk; NULL: by chunk. */
	const struct digest *file_digest;
	uint64_t file_off, file_size; /* where the file lies in the source */
	bool apart; /* not a step of a reader: nothing is read ahead for it */
};

/*
 * Copy the bytes if they can be had without the network: the count (= len), or
 * -EAGAIN when something is missing, or an error that will not go away.
 */
ssize_t fetch_try_read(struct fetcher *f, const struct fetch_range *r,
		       void *buf, struct error **errp);

/*
 * Ask for what is missing and be told: done(ctx, 0) when the range can be read
 * with fetch_try_read(), done(ctx, -errno) when it cannot be had before the
 * deadline. Exactly one call of done, possibly before this returns. A reader
 * that goes on sequentially makes the fetcher read ahead (window doubling to
 * 16 MiB per source). Returns a ticket for fetch_cancel(), 0 if done already.
 */
typedef void (*fetch_done_fn)(void *ctx, int result, const struct error *err);
uint64_t fetch_ask(struct fetcher *f, const struct fetch_range *r,
		   fetch_done_fn done, void *ctx);
/* done will be called with -ECANCELED soon if it was not called yet. */
void fetch_cancel(struct fetcher *f, uint64_t ticket);

/* Ask, wait, copy. Not from a callback. */
ssize_t fetch_read(struct fetcher *f, const struct fetch_range *r, void *buf,
		   const struct op *op, struct error **errp);

/*
 * @s is a weight file: bring its header, and from then on who misses bytes of a
 * tensor makes the fetcher read ahead all of it (up to 64 MiB; of a larger one
 * when its beginning is missed). A hint: it fails to no one. Does not wait, and
 * means nothing when said again; may read a header that is here.
 */
void fetch_weights(struct fetcher *f, struct fetch_source *s,
		   enum weights format);

/*
 * Make whole sources local and sealed, in the background class, in big runs;
 * waits. @op bounds it. For pull, materialize and trees. -ENOSPC: the cache
 * cannot keep them (fetch_read() still works).
 */
int fetch_whole(struct fetcher *f, struct fetch_source *const *sources,
		size_t n, const struct op *op, struct error **errp);

/*
 * A line of ranges that are made local in the background class, in the order in
 * which they were put: requests go out in that order, a few at a time, and none
 * begins while readers wait (for up to half a second each time).
 *
 * Threads: one for each line; the ranges' sources outlive it.
 */
struct fetch_line;

struct fetch_line *fetch_line_new(struct fetcher *f);
/* Bytes [@off, @off + @len) of @s come next. Waits while enough is under way.
 * -ECANCELED, -ETIMEDOUT of @op; -EINVAL: outside the source; what
 * cache_is_unwritable() knows: nothing can be kept. */
int fetch_line_put(struct fetch_line *l, struct fetch_source *s, uint64_t off,
		   uint64_t len, const struct op *op, struct error **errp);
/* Until all is there or failed: 0, or the first failure since the last wait. */
int fetch_line_wait(struct fetch_line *l, const struct op *op,
		    struct error **errp);
/* What did not come yet does not come any more. */
void fetch_line_free(struct fetch_line *l);

/* Counters for status and summary lines; a snapshot. */
struct fetch_stats {
	uint64_t requests;      /* ranges asked of stores */
	uint64_t bytes_network; /* verified bytes that came from stores */
	uint64_t bytes_cache;   /* bytes served that were local */
	uint64_t chunks_bad;    /* arrived wrong */
	uint64_t waits, failures, in_flight;
	uint64_t hedged;     /* second requests, as the first one stalled */
	uint64_t hedged_won; /* of them, those that brought it first */
	uint64_t tensors;    /* read ahead as a whole */
};
void fetcher_stats(struct fetcher *f, struct fetch_stats *ret);

/* Count in @counters, which outlive @f, and go on from what they say. Before
 * the first source. */
struct fetch_counters {
	atomic_uint_fast64_t requests, bytes_network, bytes_cache, bad, waits,
		failed, hedged, hedged_won, tensors;
};
void fetcher_count_in(struct fetcher *f, struct fetch_counters *counters);

#endif
