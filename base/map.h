/*
 * A hash table from byte strings to pointers (XXH3, open addressing).
 *
 * Keys are copied into the table; values are the caller's. Not thread-safe.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>

struct map {
	struct map_slot *slots;
	size_t cap;  /* power of two, or 0 */
	size_t used; /* entries */
	size_t dead; /* tombstones */
};

#define MAP_INIT  \
	{         \
		0 \
	}

/* Frees keys, not values. */
void map_release(struct map *m);
#define cleanup_map __attribute__((cleanup(map_release)))
void *map_get(const struct map *m, const void *key, size_t n);
/* Set or replace; returns the value that was there, or NULL. */
void *map_put(struct map *m, const void *key, size_t n, void *value);
/* Remove; returns the value that was there, or NULL. */
void *map_del(struct map *m, const void *key, size_t n);
static inline size_t map_count(const struct map *m)
{
	return m->used;
}

/* Iterate in no order: start with *@pos = 0; false at the end. */
bool map_next(const struct map *m, size_t *pos, const void **ret_key,
	      size_t *ret_n, void **ret_value);

/* String keys. */
void *map_get_str(const struct map *m, const char *key);
void *map_put_str(struct map *m, const char *key, void *value);

#endif
