/*
 * Linear probing. A slot is empty (key NULL), a tombstone (key DEAD) or an
 * entry. At most three quarters of the slots are entries or tombstones, so
 * every probe ends at an empty one.
 */
#include "base/map.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"
#include "base/random.h"

struct map_slot {
	void *key;
	size_t n;
	uint64_t hash;
	void *value;
};

static char dead_key;
#define DEAD ((void *)&dead_key)

static uint64_t seed;

static void seed_draw(void)
{
	seed = random_below(UINT64_MAX);
}

/* Keys come from foreign documents: nobody may know where they will land. */
static uint64_t hash_of(const void *key, size_t n)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, seed_draw);
	return XXH3_64bits_withSeed(key, n, seed);
}

static bool slot_live(const struct map_slot *s)
{
	return s->key && s->key != DEAD;
}

/* The entry of @key, or NULL. */
static struct map_slot *map_find(const struct map *m, const void *key, size_t n,
				 uint64_t hash)
{
	if (!m->cap)
		return NULL;
	for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
		struct map_slot *s = &m->slots[i];

		if (!s->key)
			return NULL;
		if (s->key != DEAD && s->hash == hash && s->n == n &&
		    (!n || memcmp(s->key, key, n) == 0))
			return s;
	}
}

/* Where an entry that is not there yet goes; there is room. */
static struct map_slot *map_vacant(struct map *m, uint64_t hash)
{
	size_t i = hash & (m->cap - 1);

	while (slot_live(&m->slots[i]))
		i = (i + 1) & (m->cap - 1);
	return &m->slots[i];
}

/* Twice as large, or the same size when tombstones are the problem. */
static void map_rebuild(struct map *m)
{
	struct map old = *m;

	m->cap = old.cap ? old.cap : 16;
	if (old.used >= m->cap / 2)
		m->cap *= 2;
	m->slots = xcalloc(m->cap, sizeof(*m->slots));
	m->dead = 0;
	for (size_t i = 0; i < old.cap; i++)
		if (slot_live(&old.slots[i]))
			*map_vacant(m, old.slots[i].hash) = old.slots[i];
	free(old.slots);
}

void map_release(struct map *m)
{
	for (size_t i = 0; i < m->cap; i++)
		if (slot_live(&m->slots[i]))
			free(m->slots[i].key);
	free(m->slots);
	*m = (struct map)MAP_INIT;
}

void *map_get(const struct map *m, const void *key, size_t n)
{
	struct map_slot *s = map_find(m, key, n, hash_of(key, n));

	return s ? s->value : NULL;
}

void *map_put(struct map *m, const void *key, size_t n, void *value)
{
	uint64_t hash = hash_of(key, n);
	struct map_slot *s = map_find(m, key, n, hash);

	if (s) {
		void *old = s->value;

		s->value = value;
		return old;
	}
	if (m->used + m->dead + 1 > m->cap / 4 * 3)
		map_rebuild(m);
	s = map_vacant(m, hash);
	if (s->key == DEAD)
		m->dead--;
	*s = (struct map_slot){
		.key = xmemdup(key, n), .n = n, .hash = hash, .value = value};
	m->used++;
	return NULL;
}

void *map_del(struct map *m, const void *key, size_t n)
{
	struct map_slot *s = map_find(m, key, n, hash_of(key, n));
	void *old;

	if (!s)
		return NULL;
	old = s->value;
	free(s->key);
	*s = (struct map_slot){.key = DEAD};
	m->used--;
	m->dead++;
	return old;
}

bool map_next(const struct map *m, size_t *pos, const void **ret_key,
	      size_t *ret_n, void **ret_value)
{
	while (*pos < m->cap) {
		const struct map_slot *s = &m->slots[(*pos)++];

		if (!slot_live(s))
			continue;
		if (ret_key)
			*ret_key = s->key;
		if (ret_n)
			*ret_n = s->n;
		if (ret_value)
			*ret_value = s->value;
		return true;
	}
	return false;
}

void *map_get_str(const struct map *m, const char *key)
{
	return map_get(m, key, strlen(key));
}

void *map_put_str(struct map *m, const char *key, void *value)
{
	return map_put(m, key, strlen(key), value);
}
