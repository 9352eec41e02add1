/*
 * Verified bytes kept in memory for a while: chunks, and small files of packs.
 *
 * Keys are content addresses, so an entry can never be stale. Buffers are
 * shared by reference and immutable once put. Who misses loads, and who comes
 * meanwhile waits for that one load instead of hashing the same bytes again.
 *
 * Threads: any.
 */
#ifndef ENGINE_FETCH_MEMORY_H
#define ENGINE_FETCH_MEMORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"

struct fetch_buf {
	atomic_uint refs;
	uint32_t len;
	unsigned char data[];
};
/* NULL when memory is out. */
struct fetch_buf *fetch_buf_new(uint32_t len);
void fetch_buf_unref(struct fetch_buf *b);
static inline void fetch_buf_unrefp(struct fetch_buf **b)
{
	if (*b)
		fetch_buf_unref(*b);
	*b = 0;
}
#define cleanup_fetch_buf __attribute__((cleanup(fetch_buf_unrefp)))

/* Content and length: a hostile list may give a known digest another length. */
struct fetch_key {
	struct digest digest;
	uint32_t len;
};

struct fetch_memory;
struct fetch_memory *fetch_memory_new(size_t limit);
void fetch_memory_free(struct fetch_memory *m);

bool fetch_memory_has(struct fetch_memory *m, const struct fetch_key *key);
/* A new reference, or NULL. */
struct fetch_buf *fetch_memory_get(struct fetch_memory *m,
				   const struct fetch_key *key);
void fetch_memory_put(struct fetch_memory *m, const struct fetch_key *key,
		      struct fetch_buf *b);
/*
 * A new reference; or NULL, and then the caller loads and ends the load with
 * fetch_memory_loaded(), with NULL when that failed (one of those that wait
 * loads then).
 */
struct fetch_buf *fetch_memory_get_or_load(struct fetch_memory *m,
					   const struct fetch_key *key);
void fetch_memory_loaded(struct fetch_memory *m, const struct fetch_key *key,
			 struct fetch_buf *b);

#endif
