#include "engine/intern.h"

#include <assert.h>
#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"

/* Where the program lies is random: who makes a tree cannot choose names that
 * collide. */
static uint64_t string_hash(const char *s, size_t n)
{
	static const char anchor;

	return XXH3_64bits_withSeed(s, n, (uintptr_t)&anchor);
}

static size_t index32_slot(const struct index32 *x, uint64_t hash)
{
	return (size_t)hash & (x->cap - 1);
}

uint32_t index32_find(const struct index32 *x, uint64_t hash,
		      bool (*eq)(const void *ctx, uint32_t i), const void *ctx)
{
	if (!x->cap)
		return INDEX_NONE;
	for (size_t s = index32_slot(x, hash); x->slots[s];
	     s = (s + 1) & (x->cap - 1))
		if (eq(ctx, x->slots[s] - 1))
			return x->slots[s] - 1;
	return INDEX_NONE;
}

static void index32_put(struct index32 *x, uint64_t hash, uint32_t i)
{
	size_t s = index32_slot(x, hash);

	while (x->slots[s])
		s = (s + 1) & (x->cap - 1);
	x->slots[s] = i + 1;
}

void index32_add(struct index32 *x, uint64_t hash, uint32_t i,
		 uint64_t (*hash_of)(const void *ctx, uint32_t i),
		 const void *ctx)
{
	assert(i != INDEX_NONE);
	if (x->used * 4 >= x->cap * 3) {
		struct index32 old = *x;

		x->cap = old.cap ? old.cap * 2 : 64;
		x->slots = xcalloc(x->cap, sizeof(*x->slots));
		for (size_t s = 0; s < old.cap; s++)
			if (old.slots[s])
				index32_put(x, hash_of(ctx, old.slots[s] - 1),
					    old.slots[s] - 1);
		free(old.slots);
	}
	index32_put(x, hash, i);
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

static uint64_t intern_hash(const void *ctx, uint32_t i)
{
	const struct intern *in = ctx;

	return string_hash(intern_str(in, i), in->strings[i].len);
}

uint32_t intern_find(const struct intern *in, const char *s, size_t n)
{
	struct intern_key key = {in, s, n};

	return index32_find(&in->index, string_hash(s, n), intern_eq, &key);
}

uint32_t intern_add(struct intern *in, const char *s, size_t n)
{
	struct intern_key key = {in, s, n};
	uint64_t hash = string_hash(s, n);
	uint32_t i = index32_find(&in->index, hash, intern_eq, &key);

	if (i != INDEX_NONE)
		return i;
	i = (uint32_t)in->n;
	ARRAY_GROW(in->strings, in->n, in->cap);
	in->strings[in->n++] = (struct interned){in->bytes.len, (uint32_t)n};
	strbuf_add(&in->bytes, s, n);
	index32_add(&in->index, hash, i, intern_hash, in);
	return i;
}

void intern_release(struct intern *in)
{
	strbuf_release(&in->bytes);
	free(in->strings);
	index32_release(&in->index);
	*in = (struct intern){{0}};
}
