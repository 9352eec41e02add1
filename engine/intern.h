/*
 * Two small tables that trees are made and checked with: an index that finds
 * array elements by hash, and distinct strings in one block of memory. Both
 * cost a few bytes an element, where a map of copied keys costs sixty.
 *
 * Threads: one.
 */
#ifndef ENGINE_INTERN_H
#define ENGINE_INTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"

#define INDEX_NONE UINT32_MAX

/* Differs from process to process: who makes a tree cannot choose strings or
 * digests that collide. */
uint64_t index_hash(const void *p, size_t n);

/* Numbers 0, 1, 2, … of elements that the caller keeps in an array. */
struct index32 {
	struct index32_slot *slots;
	size_t cap; /* power of two, or 0 */
	size_t used;
};

/*
 * The number for which eq(@ctx, number) holds among those added with @hash, or
 * INDEX_NONE.
 */
uint32_t index32_find(const struct index32 *x, uint64_t hash,
		      bool (*eq)(const void *ctx, uint32_t i), const void *ctx);
void index32_add(struct index32 *x, uint64_t hash, uint32_t i);
void index32_release(struct index32 *x);

struct interned {
	uint64_t off; /* in bytes */
	uint32_t len;
};

struct intern {
	struct strbuf bytes;
	struct interned *strings;
	size_t n, cap;
	struct index32 index;
};

/* The number of the string, given in order of first use. */
uint32_t intern_add(struct intern *in, const char *s, size_t n);
/* INDEX_NONE when it was never added. */
uint32_t intern_find(const struct intern *in, const char *s, size_t n);
static inline const char *intern_str(const struct intern *in, uint32_t i)
{
	return in->bytes.buf + in->strings[i].off;
}
void intern_release(struct intern *in);

#endif
