/*
 * The hash of the whole, begun while the rest still comes: it goes on from the
 * front as far as every chunk is there, reading each byte back from the file, so
 * that sealing has only the rest to read.
 *
 * It belongs to one backing. A chunk in front that is found damaged later, and
 * written anew, makes the hash wrong: then sealing reads all of it again. So it
 * does when the rest was long in coming: what changes in the file between the
 * hash and the name would not be seen, and hashing at the end leaves as long for
 * that as one reading takes. Three times as long is what we allow ourselves.
 */
#include "cache/content_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "base/io.h"
#include "base/time.h"

#define LOOK_AHEAD 16 /* chunks that are looked for at once */

/* Is it too long ago that it was begun, for the time that hashing took? */
static bool is_stale(const struct ahead *a)
{
	return time_mono_ns() - a->began_ns >
	       AHEAD_GRACE_NS + 3 * a->hashing_ns;
}

/* The hash of @b so far, taken out; begun if there is none. NULL: another
 * thread is at it. */
static struct ahead *take(struct content *ct, struct backing *b)
{
	struct ahead *a;

	mutex_lock(&ct->lock);
	a = ct->ahead_taken ? NULL : ct->ahead;
	if (!ct->ahead_taken && (!a || a->backing != b)) {
		ahead_free(a);
		a = xcalloc(1, sizeof(*a));
		a->hasher = hasher_new();
		a->backing = backing_ref(b);
		a->began_ns = time_mono_ns();
	}
	if (a) {
		ct->ahead = NULL;
		ct->ahead_taken = true;
	}
	mutex_unlock(&ct->lock);
	return a;
}

/* To go on from: not when its backing was given up meanwhile. */
static void give_back(struct content *ct, struct ahead *a, bool keep)
{
	mutex_lock(&ct->lock);
	if (keep && a->backing == ct->backing)
		ct->ahead = steal_ptr(&a);
	ct->ahead_taken = false;
	mutex_unlock(&ct->lock);
	ahead_free(a);
}

void ahead_free(struct ahead *a)
{
	if (!a)
		return;
	hasher_free(a->hasher);
	backing_unref(a->backing);
	free(a);
}

/* Hash on to chunk @end. */
static int go_on(const struct content *ct, struct ahead *a, uint32_t end)
{
	cleanup_free unsigned char *buf = xmalloc(CHUNK_SIZE);
	int64_t from_ns = time_mono_ns();

	for (; a->next < end; a->next++) {
		uint32_t len = chunk_len(ct->size, a->next);
		ssize_t n = io_pread_full(a->backing->fd, buf, len,
					  (uint64_t)a->next * CHUNK_SIZE);

		if (n != (ssize_t)len)
			return n < 0 ? (int)n : -EIO;
		hasher_update(a->hasher, buf, len);
	}
	a->hashing_ns += time_mono_ns() - from_ns;
	return 0;
}

void content_hash_ahead(struct content *ct)
{
	cleanup_backing struct backing *b = NULL;
	struct ahead *a;
	int r = 0;

	if (backing_get(ct, false, &b) < 0 || b->sealed || backing_whole(b))
		return;
	a = take(ct, b);
	while (a && r == 0 && a->next < ct->n && !is_stale(a)) {
		uint32_t n = MIN(LOOK_AHEAD, ct->n - a->next);

		if (chunk_map_count(b->map_fd, ct->n, a->next, n) != n)
			break;
		r = go_on(ct, a, a->next + n);
	}
	if (a)
		give_back(ct, a, r == 0);
}

int ahead_finish(struct content *ct, struct backing *b, struct digest *ret)
{
	struct ahead *a = take(ct, b);
	int r = -ESTALE;

	if (a && !is_stale(a))
		r = go_on(ct, a, ct->n);
	if (r == 0)
		*ret = hasher_final(a->hasher);
	if (a)
		give_back(ct, a, false);
	return r == -ESTALE ? hash_file(b->fd, ct->size, NULL, NULL, ret) : r;
}
