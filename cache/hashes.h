/*
 * What files of a workspace hashed to, so that a second scan hashes nothing.
 *
 * Keyed by (path, dev, inode, size, mtime, ctime); one file per workspace
 * folder below hashes/, read whole, written whole. A folder that was pushed has
 * a second one, as if of another folder, with what its packs hashed to
 * (compose.c): these have no path, so what their bytes are a function of stands
 * in its place, and a stat in which only the size says something. Entries whose mtime or ctime
 * lies within 2 s of their hashing are not kept: a write within the same clock
 * tick would go unseen. A damaged file is an empty one (it has a checksum).
 *
 * Threads: look-ups and puts from any thread.
 */
#ifndef CACHE_HASHES_H
#define CACHE_HASHES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "cache/cache.h"

struct hashes;

int hashes_open(struct cache *c, const char *folder, struct hashes **ret,
		struct error **errp);
/* True: *@ret is the digest, and *@ret_chunks (malloc()ed, may be asked for by
 * NULL) the chunk digests of a file larger than CHUNK_SIZE. */
bool hashes_get(struct hashes *h, const char *path, const struct stat *st,
		struct digest *ret, struct digest **ret_chunks,
		size_t *ret_n_chunks);
void hashes_put(struct hashes *h, const char *path, const struct stat *st,
		int64_t hashed_at_wall_ns, const struct digest *d,
		const struct digest *chunks, size_t n_chunks);
/* Keep what was got or put since opening, drop the rest; atomic. */
int hashes_save(struct hashes *h, struct error **errp);
void hashes_free(struct hashes *h);

#endif
