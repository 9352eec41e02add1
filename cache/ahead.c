/*
 * The hash of the whole, begun while the rest still comes: it goes on from the
 * front as far as every chunk is there, reading each byte back from the file, so
 * that sealing has only the rest to hash.
 *
 * What was hashed may be damaged before it gets its name, which would bear the
 * damage out: so it is read once more then, and compared by a sum that costs
 * little more than the reading.
 *
 * It belongs to one backing. A chunk in front that is found damaged later, and
 * written anew, makes the hash wrong: then sealing reads all of it again.
 */
#include "cache/content_internal.h"

#include <stdlib.h>
#include <xxhash.h>

#include "base/io.h"

#define LOOK_AHEAD 16 /* chunks that are looked for at once */

static XXH3_state_t *sum_new(void)
{
	XXH3_state_t *sum = XXH3_createState();

	if (!sum || XXH3_128bits_reset(sum) != XXH_OK)
		abort();
	return sum;
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
		a->sum = sum_new();
		a->backing = backing_ref(b);
	}
	if (a) {
		ct->ahead = NULL;
		ct->ahead_taken = true;
	}
	mutex_unlock(&ct->lock);
	return a;
}

static void give_back(struct content *ct, struct ahead *a)
{
	mutex_lock(&ct->lock);
	ct->ahead = a;
	ct->ahead_taken = false;
	mutex_unlock(&ct->lock);
}

void ahead_free(struct ahead *a)
{
	if (!a)
		return;
	hasher_free(a->hasher);
	XXH3_freeState(a->sum);
	backing_unref(a->backing);
	free(a);
}

static int read_chunk(const struct content *ct, const struct ahead *a,
		      uint32_t i, unsigned char *buf)
{
	uint32_t len = chunk_len(ct->size, i);
	ssize_t n = io_pread_full(a->backing->fd, buf, len,
				  (uint64_t)i * CHUNK_SIZE);

	if (n != (ssize_t)len)
		return n < 0 ? (int)n : -EIO;
	return 0;
}

/* Hash on to chunk @end. */
static int go_on(const struct content *ct, struct ahead *a, uint32_t end)
{
	cleanup_free unsigned char *buf = xmalloc(CHUNK_SIZE);

	for (; a->next < end; a->next++) {
		uint32_t len = chunk_len(ct->size, a->next);
		int r = read_chunk(ct, a, a->next, buf);

		if (r < 0)
			return r;
		hasher_update(a->hasher, buf, len);
		XXH3_128bits_update(a->sum, buf, len);
	}
	return 0;
}

/* -EIO unless the chunks before @end are what they were when they were
 * hashed. */
static int compare(const struct content *ct, const struct ahead *a,
		   const XXH128_hash_t *was, uint32_t end)
{
	cleanup_free unsigned char *buf = xmalloc(CHUNK_SIZE);
	XXH3_state_t *sum = sum_new();
	XXH128_hash_t now;
	int r = 0;

	for (uint32_t i = 0; i < end && r == 0; i++) {
		r = read_chunk(ct, a, i, buf);
		XXH3_128bits_update(sum, buf, chunk_len(ct->size, i));
	}
	now = XXH3_128bits_digest(sum);
	XXH3_freeState(sum);
	if (r == 0 && !XXH128_isEqual(now, *was))
		r = -EIO;
	return r;
}

void content_hash_ahead(struct content *ct)
{
	cleanup_backing struct backing *b = NULL;
	struct ahead *a;
	int r = 0;

	if (backing_get(ct, false, &b) < 0 || b->sealed || backing_whole(b))
		return;
	a = take(ct, b);
	while (a && r == 0 && a->next < ct->n) {
		uint32_t n = MIN(LOOK_AHEAD, ct->n - a->next);

		if (chunk_map_count(b->map_fd, ct->n, a->next, n) != n)
			break;
		r = go_on(ct, a, a->next + n);
	}
	if (a)
		give_back(ct, r == 0 ? a : NULL);
	if (r < 0)
		ahead_free(a);
}

int ahead_finish(struct content *ct, struct backing *b, struct digest *ret)
{
	struct ahead *a = take(ct, b);
	XXH128_hash_t was;
	uint32_t before;
	int r;

	if (!a)
		return hash_file(b->fd, ct->size, NULL, NULL, ret);
	before = a->next;
	was = XXH3_128bits_digest(a->sum);
	r = go_on(ct, a, ct->n);
	if (r == 0)
		r = compare(ct, a, &was, before);
	if (r == 0)
		*ret = hasher_final(a->hasher);
	give_back(ct, NULL);
	ahead_free(a);
	return r;
}
