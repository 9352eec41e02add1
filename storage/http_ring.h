/*
 * A bounded byte queue between two threads. Not locked: positions change under
 * the owner's lock, while the bytes between them may be read or filled
 * without it, since one side never touches what the other one owns.
 */
#ifndef STORAGE_HTTP_RING_H
#define STORAGE_HTTP_RING_H

#include <stddef.h>
#include <string.h>

#include "base/alloc.h"

struct ring {
	char *buf;
	size_t cap;
	size_t pos; /* of the first byte queued */
	size_t len;
};

static inline size_t ring_room(const struct ring *r)
{
	return r->cap - r->len;
}

/* The longest run that can be read in place. */
static inline const char *ring_peek(const struct ring *r, size_t *ret_n)
{
	*ret_n = MIN(r->len, r->cap - r->pos);
	return r->buf + r->pos;
}

static inline void ring_drop(struct ring *r, size_t n)
{
	r->len -= n;
	/* Not back to 0 when empty: the other side may be filling the space
	 * that it was shown. */
	r->pos = (r->pos + n) % r->cap;
}

/* The longest run that can be filled in place; ring_filled() queues it. */
static inline char *ring_space(const struct ring *r, size_t *ret_n)
{
	size_t end = (r->pos + r->len) % r->cap;

	*ret_n = MIN(ring_room(r), r->cap - end);
	return r->buf + end;
}

static inline void ring_filled(struct ring *r, size_t n)
{
	r->len += n;
}

/* @n must fit. */
static inline void ring_put(struct ring *r, const char *p, size_t n)
{
	while (n) {
		size_t run;
		char *to = ring_space(r, &run);

		run = MIN(run, n);
		memcpy(to, p, run);
		ring_filled(r, run);
		p += run;
		n -= run;
	}
}

/* Returns how many bytes there were. */
static inline size_t ring_take(struct ring *r, char *p, size_t max)
{
	size_t done = 0;

	while (done < max && r->len) {
		size_t run;
		const char *from = ring_peek(r, &run);

		run = MIN(run, max - done);
		memcpy(p + done, from, run);
		ring_drop(r, run);
		done += run;
	}
	return done;
}

#endif
