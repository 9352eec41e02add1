/*
 * What the files about contents share.
 *
 * Lock order: the cache's lock, then a content's. Descriptors are used without
 * a lock, by whoever holds a reference to their backing.
 */
#ifndef CACHE_CONTENT_INTERNAL_H
#define CACHE_CONTENT_INTERNAL_H

#include <stdatomic.h>

#include "cache/content.h"
#include "cache/content_map.h"
#include "cache/internal.h"

/*
 * Where the bytes are now: a sealed blob; a partial and its map; or, for a
 * content of one chunk, a whole file that waits to be sealed. It is replaced,
 * never changed.
 */
struct backing {
	atomic_uint refs;
	bool sealed;
	bool foreign; /* of an alternate cache; whole, but believed by chunk */
	int fd;
	int map_fd;          /* a partial's of several chunks, else -1 */
	struct draft *draft; /* owns @fd then: written by us, hashed before */
	atomic_bool queued;  /* in a batch */
	atomic_bool done;    /* the batch was written: look at the disk */
};

/* Is every chunk there, as far as we know, without a look at a map? */
static inline bool backing_whole(const struct backing *b)
{
	return b->map_fd < 0;
}

enum fault_state { FAULT_UNKNOWN, FAULT_NONE, FAULT_BUNDLE };

struct content {
	struct cache *c;
	struct digest digest;
	struct digest key; /* of (size, chunk size, chunk list) */
	uint64_t size;
	uint32_t n;
	const struct digest *chunks; /* the caller's, or @digest */
	atomic_int fault;            /* enum fault_state */
	atomic_bool used;            /* since the last look for an idle one */

	/* The cache's lock. */
	unsigned refs;
	bool listed;
	struct content *prev, *next;

	struct mutex lock; /* of everything below */
	struct cond changed;
	struct backing *backing;
	int64_t absent_until; /* nothing was on disk: do not look before */
	unsigned writers;
	bool gate_shared;           /* locks/gate is held for the writers */
	int64_t gate_busy_since_ns; /* another process has it; 0: no */
	bool sealing;
	bool checking;       /* a thread re-hashes the sealed blob */
	bool ahead_taken;    /* a thread hashes on */
	struct ahead *ahead; /* or NULL */
};

/* The path of a file of this content below partial/; @suffix as in ".map". */
struct partial_name {
	char str[2 + 1 + 2 * DIGEST_HEX_LEN + 1 + 24 + 8];
};
struct partial_name partial_name(const struct content *ct, const char *suffix);

/*
 * backing.c: a reference to where the bytes are, or -ENOENT. @fresh: look at
 * the disk even if there was nothing a moment ago.
 */
int backing_get(struct content *ct, bool fresh, struct backing **ret);
/* The same for a content of several chunks; makes the partial when there is
 * nothing. */
int backing_get_or_make(struct content *ct, struct backing **ret,
			struct error **errp);
/* The bytes of a content of one chunk, whole, until it is sealed. */
void backing_adopt(struct content *ct, struct draft **take_s);
struct backing *backing_ref(struct backing *b);
void backing_unref(struct backing *b);
static inline void backing_unrefp(struct backing **b)
{
	if (*b)
		backing_unref(*b);
	*b = 0;
}
#define cleanup_backing __attribute__((cleanup(backing_unrefp)))
/* Use @b no more for @ct: the next call looks at the disk. */
void backing_forget(struct content *ct, struct backing *b);
/* Out of the list of those that hold descriptors. */
void backing_unlist_locked(struct cache *c, struct content *ct)
	REQUIRES(c->lock);

/* partial.c: -ENOENT when there is none, or it was damaged and is gone. */
int partial_open(struct content *ct, struct backing *ret);
int partial_make(struct content *ct, struct backing *ret);
/* A content of one chunk: the whole file, not sealed yet. */
int partial_open_single(struct content *ct, struct backing *ret);
/* Delete a partial, so that other processes see it. */
void partial_discard(struct content *ct, const struct backing *b);
/* Take away the name of @fd, a content of one chunk, if it is its file's. */
void partial_unlink_file(struct content *ct, int fd);
/* Remove the names that a killed sealer left. */
void partial_unlink(struct content *ct);

/*
 * gate.c: writers of a partial hold it shared, its sealing alone, among threads
 * and processes. -EAGAIN: it is being sealed. A gate that fails to exclude
 * costs a hash, since what is written is always right; so one that another
 * process holds for too long is passed by.
 */
uint64_t gate_offset(const struct content *ct);
int gate_enter(struct content *ct);
void gate_leave(struct content *ct);
/* -EAGAIN when someone else seals. Waits for writers, for a bounded time. */
int gate_close(struct content *ct);
void gate_open(struct content *ct);

/* batch.c: seal @b, which is whole and right, with others. */
int batch_add(struct content *ct, struct backing *b);

/* ahead.c: the hash of the whole, as far as it has come. It counts for three
 * times as long as hashing took, and this. */
#define AHEAD_GRACE_NS NS_PER_S
struct ahead {
	struct hasher *hasher;
	struct backing *backing; /* a reference */
	uint32_t next;           /* chunk that is not in it yet */
	int64_t began_ns, hashing_ns;
};
void ahead_free(struct ahead *a);
/* The hash of the whole of @b, every chunk of which is there. */
int ahead_finish(struct content *ct, struct backing *b, struct digest *ret);

/* fault.c: bundles whose chunk list contradicts their digest. */
bool fault_known(struct content *ct);
void fault_remember(struct content *ct);
int fault_error(const struct content *ct, struct error **errp);

/* content.c: what a partial is known by, beside its digest. */
struct digest content_key(uint64_t size, const struct digest *chunks,
			  uint32_t n);
/* Is @buf chunk @i? */
bool chunk_is(const struct content *ct, uint32_t i, const void *buf, size_t n);
/* heal.c: a chunk of the sealed blob is not what the list says. 0 try again;
 * -ENOENT the blob was damaged; -EBADMSG the bundle is at fault. */
int heal_sealed(struct content *ct, struct backing *b, uint32_t i);

#endif
