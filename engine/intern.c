#include "engine/intern.h"

#include <assert.h>
#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"

uint64_t index_hash(const void *p, size_t n)
{
	static const char anchor; /* lies where the loader's dice put it */

	return XXH3_64bits_withSeed(p, n, (uintptr_t)&anchor);
}

/* A hash is folded to half its length and kept: it tells most strangers apart without a
 * look at the element, and is all that growing needs. */
struct index32_slot {
	uint32_t hash;
	uint32_t i; /* number + 1; 0 is free */
};

static uint32_t fold(uint64_t hash)
{
	return (uint32_t)(hash >> 32 ^ hash);
}

uint32_t index32_find(const struct index32 *x, uint64_t hash,
		      bool (*eq)(const void *ctx, uint32_t i), const void *ctx)
{
	uint32_t h = fold(hash);

	if (!x->cap)
		return INDEX_NONE;
	for (size_t s = h & (x->cap - 1); x->slots[s].i;
	     s = (s + 1) & (x->cap - 1))
		if (x->slots[s].hash == h && eq(ctx, x->slots[s].i - 1))
			return x->slots[s].i - 1;
	return INDEX_NONE;
}

static void index32_put(struct index32 *x, struct index32_slot slot)
{
	size_t s = slot.hash & (x->cap - 1);

	while (x->slots[s].i)
		s = (s + 1) & (x->cap - 1);
	x->slots[s] = slot;
}

void index32_add(struct index32 *x, uint64_t hash, uint32_t i)
{
	struct index32 old = *x;

	assert(i != INDEX_NONE);
	if (x->used * 4 >= x->cap * 3) {
		x->cap = old.cap ? old.cap * 2 : 64;
		x->slots = xcalloc(x->cap, sizeof(*x->slots));
		for (size_t s = 0; s < old.cap; s++)
			if (old.slots[s].i)
				index32_put(x, old.slots[s]);
		free(old.slots);
	}
	index32_put(x, (struct index32_slot){fold(hash), i + 1});
	x->used++;
}

void index32_release(struct index32 *x)
{
	free(x->slots);
	*x = (struct index32){0};
}

struct intern_key {
	const struct intern *in;
	const char *s;
	size_t n;
};

static bool intern_eq(const void *ctx, uint32_t i)
{
	const struct intern_key *k = ctx;

	return k->in->strings[i].len == k->n &&
	       !memcmp(intern_str(k->in, i), k->s, k->n);
}

uint32_t intern_find(const struct intern *in, const char *s, size_t n)
{
	struct intern_key key = {in, s, n};

	return index32_find(&in->index, index_hash(s, n), intern_eq, &key);
}

uint32_t intern_add(struct intern *in, const char *s, size_t n)
{
	struct intern_key key = {in, s, n};
	uint64_t hash = index_hash(s, n);
	uint32_t i = index32_find(&in->index, hash, intern_eq, &key);

	if (i != INDEX_NONE)
		return i;
	i = (uint32_t)in->n;
	ARRAY_GROW(in->strings, in->n, in->cap);
	in->strings[in->n++] = (struct interned){in->bytes.len, (uint32_t)n};
	strbuf_add(&in->bytes, s, n);
	index32_add(&in->index, hash, i);
	return i;
}

void intern_release(struct intern *in)
{
	strbuf_release(&in->bytes);
	free(in->strings);
	index32_release(&in->index);
	*in = (struct intern){{0}};
}
