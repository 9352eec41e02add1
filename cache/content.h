/*
 * The local bytes of one source (a blob, a pack, a tree, a run of parts, an
 * external): sealed under its digest, or partial, seen as one grid of chunks.
 *
 * A partial is known by its digest *and* a key made from (size, chunk size,
 * SHA-256 of the chunk list), so that a hostile tree that claims a known digest
 * with other chunks never shares bytes with an honest one.
 *
 * States of a chunk, as this process sees them:
 *
 *   absent ──put()──▶ present, checked ──sync()──▶ durable
 *   on disk (durable, or written in this boot) ──first read()──▶ checked,
 *     or absent again when the bytes are not what the list says
 *   sealed: every chunk is on disk
 *
 * A bit in the map means verified; one set without a barrier counts only while
 * the boot id is unchanged.
 *
 * Threads: any, many at once, on one content. Two puts of one chunk are
 * harmless (same bytes). Nothing here touches the network.
 */
#ifndef CACHE_CONTENT_H
#define CACHE_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/digest.h"
#include "cache/cache.h"

struct content;

/* What a map can describe; a larger source is -EFBIG. */
#define CONTENT_SIZE_MAX (UINT64_C(1) << 50)

struct content_spec {
	struct digest digest;
	uint64_t size;
	/* One digest per chunk, n = ceil(size / CHUNK_SIZE); not looked at when
	 * size ≤ CHUNK_SIZE: then the digest itself is the only chunk's. Must
	 * outlive the content. */
	const struct digest *chunks;
};

/* The number of chunks of a source, and the length of chunk @i. */
uint32_t chunk_count(uint64_t size);
uint32_t chunk_len(uint64_t size, uint32_t i);

/*
 * Never fails for want of a partial file: those are made at the first put.
 * Contents of one digest and chunk list (the same pointer) are shared within
 * the process; each open is one reference.
 */
int content_open(struct cache *c, const struct content_spec *spec,
		 struct content **ret, struct error **errp);
void content_close(struct content *ct);

uint64_t content_size(const struct content *ct);
/* A source of one chunk that waits for its group counts as sealed. */
bool content_sealed(struct content *ct);
/* Is chunk @i on disk as far as we know? Cheap; sees other processes' work. */
bool content_has(struct content *ct, uint32_t i);
/* How many chunks are; for display. */
uint32_t content_have(struct content *ct);

/*
 * Read chunk @i whole into @buf (CHUNK_SIZE bytes) and verify it against the
 * chunk list. Returns its length; -ENOENT absent (or was damaged, and is absent
 * now); -EBADMSG the sealed blob is right and the list is wrong: the bundle is
 * at fault, remembered for this key.
 */
ssize_t content_read_chunk(struct content *ct, uint32_t i, void *buf,
			   struct error **errp);

/*
 * Read [@off, @off + @n) without verifying: for callers that then check the
 * bytes against a digest of their own (a file in a pack). -ENOENT when a chunk
 * of the range is absent. When the check fails they call content_recheck(),
 * which verifies the chunks of the range and makes bad ones absent: 0 all
 * chunks are right (the bundle is at fault), -ENOENT some were not (fetch
 * again).
 */
int content_read_unverified(struct content *ct, void *buf, size_t n,
			    uint64_t off);
int content_recheck(struct content *ct, uint64_t off, uint64_t n,
		    struct error **errp);

/*
 * Store chunk @i: hashed here, -EBADMSG when it is not what the list says, and
 * then nothing is kept. -ENOSPC and the like leave the chunk absent; so does
 * -EAGAIN, while the content is being sealed and this chunk turned out damaged,
 * or while another process only says so: for half a minute or so.
 */
int content_put(struct content *ct, uint32_t i, const void *buf, size_t n,
		struct error **errp);
/* Would content_put() be -EAGAIN now? To be asked before chunks are fetched that
 * nobody waits for. */
bool content_busy(struct content *ct);
/* Make what was put durable: fdatasync, then bits. */
int content_sync(struct content *ct, struct error **errp);

/* Hash of the whole what is there from the front on, so that content_seal() has
 * less to do. For contents that are wanted whole. */
void content_hash_ahead(struct content *ct);

/*
 * When every chunk is there: hash the whole once, fsync, seal as a blob.
 * 0 sealed (also when someone else did), or, a source of one chunk, going to be
 * with the next group: see cache_sync(); -EAGAIN chunks are missing, or
 * another process is at it; -EBADMSG the whole is wrong although every chunk
 * was right: the bundle is at fault, and the partial is deleted.
 */
int content_seal(struct content *ct, struct error **errp);

/*
 * Single flight between processes for chunks [@first, @first + @n): an OFD
 * lock on a range of locks/chunk, which stays the same file while partials come
 * and go. Waits until @deadline_ns, looking at the bits in between:
 * 0 claimed; 1 all these chunks are there by now (not claimed); -ETIMEDOUT go
 * on without. Within a process the caller keeps ranges apart.
 */
int content_claim(struct content *ct, uint32_t first, uint32_t n,
		  int64_t deadline_ns);
void content_unclaim(struct content *ct, uint32_t first, uint32_t n);

#endif
