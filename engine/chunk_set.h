/*
 * Which chunks of many things (files, sources), a bit for each: things by number,
 * as large as a tree says, which lists their chunks at 32 bytes each.
 *
 * Threads: the caller's lock.
 */
#ifndef ENGINE_CHUNK_SET_H
#define ENGINE_CHUNK_SET_H

#include <stdint.h>

#include "base/map.h"

struct chunk_set {
	struct map by_id; /* → bits */
};

/* Chunk @i of thing @id, which has @n: 1 it is new, 0 it was there, -ENOMEM. */
int chunk_set_add(struct chunk_set *s, uint32_t id, uint32_t i, uint32_t n);
void chunk_set_release(struct chunk_set *s);

#endif
