/*
 * From a partial to a blob. With the gate closed: hash the whole, flush, link,
 * tell the others through the map, remove the partial's names. What a kill
 * leaves behind at each step:
 *
 *	hashed, read-only     a partial; the next opener makes it writable
 *	flushed               the same
 *	linked                a blob; the next opener removes the partial
 *	part's name removed   a blob; a map of nothing, deleted by its opener
 *	stat recorded         the same
 *	map marked, removed   a blob
 */
#include "cache/content_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"

static int seal_error(const struct content *ct, int r, struct error **errp)
{
	if (r == -EAGAIN)
		return error_set(errp, EAGAIN,
				 "'%s' is not complete, or being sealed",
				 digest_to_hex(&ct->digest).str);
	return error_set_errno(errp, -r, "cannot seal '%s'",
			       digest_to_hex(&ct->digest).str);
}

/*
 * The whole is not what it should be. Compare chunk by chunk, in one reading
 * with another hash of the whole: bad chunks become absent. -EAGAIN there were
 * some; 0 the whole is right this time; -EBADMSG the bundle is at fault.
 */
static int find_bad_chunks(struct content *ct, struct backing *b)
{
	cleanup_free unsigned char *buf = xmalloc(CHUNK_SIZE);
	cleanup_hasher struct hasher *h = hasher_new();
	struct digest whole;
	bool bad = false;

	for (uint32_t i = 0; i < ct->n; i++) {
		uint32_t len = chunk_len(ct->size, i);
		ssize_t n = io_pread_full(b->fd, buf, len,
					  (uint64_t)i * CHUNK_SIZE);

		if (n == (ssize_t)len && chunk_is(ct, i, buf, len)) {
			hasher_update(h, buf, len);
			continue;
		}
		(void)chunk_map_set(b->map_fd, ct->n, i, 0);
		bad = true;
	}
	whole = hasher_final(h);
	if (bad)
		return -EAGAIN;
	return digest_equal(&whole, &ct->digest) ? 0 : -EBADMSG;
}

static int check_whole(struct content *ct, struct backing *b)
{
	struct digest whole;
	int r = ahead_finish(ct, b, &whole);

	if (r == 0 && digest_equal(&whole, &ct->digest))
		return 0;
	if (r < 0 && r != -EIO)
		return r;
	return find_bad_chunks(ct, b);
}

static int publish(struct content *ct, struct backing *b, struct error **errp)
{
	struct partial_name part = partial_name(ct, ".part");
	cleanup_error struct error *err = NULL;
	int r = blob_flush(b->fd);

	if (r < 0) {
		partial_discard(ct, b);
		backing_forget(ct, b);
		return seal_error(ct, r, errp);
	}
	statindex_settle(b->fd);
	r = blob_publish(ct->c, b->fd, ROOM_PARTIAL, part.str, &ct->digest,
			 &err);
	if (r == -ENOENT || r == -ESTALE) {
		/* Deleted under our hands: there is no name to link. */
		backing_forget(ct, b);
		return seal_error(ct, -EAGAIN, errp);
	}
	if (r < 0)
		return error_propagate(errp, &err, r);
	chunk_map_set_state(b->map_fd, MAP_SEALED);
	partial_unlink(ct);
	backing_forget(ct, b);
	return 0;
}

static int seal_gated(struct content *ct, struct backing *b,
		      struct error **errp)
{
	int r;

	if (chunk_map_get_state(b->map_fd) != MAP_LIVE) {
		backing_forget(ct, b);
		return -ESTALE;
	}
	r = check_whole(ct, b);
	if (r == -EBADMSG) {
		fault_remember(ct);
		partial_discard(ct, b);
		backing_forget(ct, b);
		return fault_error(ct, errp);
	}
	return r < 0 ? seal_error(ct, r, errp) : publish(ct, b, errp);
}

static int seal_partial(struct content *ct, struct backing *b,
			struct error **errp)
{
	int r;

	if (chunk_map_count(b->map_fd, ct->n, 0, ct->n) != ct->n)
		return seal_error(ct, -EAGAIN, errp);
	r = gate_close(ct);
	if (r < 0)
		return seal_error(ct, r, errp);
	r = seal_gated(ct, b, errp);
	gate_open(ct);
	return r;
}

/* Bytes that we did not write ourselves are looked at first. */
static int check_single(struct content *ct, struct backing *b)
{
	cleanup_free unsigned char *buf = NULL;
	ssize_t n;

	if (b->draft)
		return 0;
	buf = xmalloc(CHUNK_SIZE);
	n = io_pread_full(b->fd, buf, (size_t)ct->size, 0);
	if (n >= 0 && chunk_is(ct, 0, buf, (size_t)n))
		return 0;
	partial_discard(ct, b);
	backing_forget(ct, b);
	return -EAGAIN;
}

static int seal_single(struct content *ct, struct backing *b,
		       struct error **errp)
{
	int r;

	if (atomic_load(&b->done)) {
		backing_forget(ct, b);
		return -ESTALE;
	}
	r = check_single(ct, b);
	if (r == 0)
		r = batch_add(ct, b);
	return r < 0 ? seal_error(ct, r, errp) : 0;
}

static int seal_nothing(struct content *ct, struct error **errp)
{
	if (!digest_equal(&ct->digest, &DIGEST_EMPTY))
		return error_set(errp, EBADMSG,
				 "'%s' is not the digest of an empty file",
				 digest_to_hex(&ct->digest).str);
	return cache_doc_put(ct->c, &ct->digest, "", 0, errp);
}

/* Another cache's: believed from here on, or copied. */
static int seal_foreign(struct content *ct, struct backing *b,
			struct error **errp)
{
	int r = blob_vouch(ct->c, &ct->digest, ct->size, b->fd);

	if (r != 0)
		backing_forget(ct, b);
	return r < 0 && r != -ESTALE ? seal_error(ct, r, errp) : MIN(r, 0);
}

static int seal_once(struct content *ct, struct error **errp)
{
	cleanup_backing struct backing *b = NULL;
	int r = backing_get(ct, true, &b);

	if (r == -ENOENT)
		return seal_error(ct, -EAGAIN, errp);
	if (r < 0)
		return seal_error(ct, r, errp);
	if (b->foreign)
		return seal_foreign(ct, b, errp);
	if (b->sealed)
		return 0;
	if (backing_whole(b))
		return seal_single(ct, b, errp);
	if (chunk_map_get_state(b->map_fd) != MAP_LIVE) {
		backing_forget(ct, b);
		return -ESTALE;
	}
	return seal_partial(ct, b, errp);
}

int content_seal(struct content *ct, struct error **errp)
{
	int r = -ESTALE;

	if (fault_known(ct))
		return fault_error(ct, errp);
	if (ct->n == 0)
		return seal_nothing(ct, errp);
	for (int tries = 0; r == -ESTALE && tries < 4; tries++)
		r = seal_once(ct, errp);
	return r == -ESTALE ? seal_error(ct, -EAGAIN, errp) : r;
}

/*
 * Syncing.
 */

static int sync_partial(struct content *ct, struct backing *b)
{
	cleanup_free uint8_t *snapshot = NULL;
	int r = chunk_map_snapshot(b->map_fd, ct->n, &snapshot);

	if (r < 0)
		return r;
	if (fdatasync(b->fd) < 0) {
		r = -errno;
		/* The pages count as clean now, whatever became of them. */
		partial_discard(ct, b);
		backing_forget(ct, b);
		return r;
	}
	return chunk_map_mark_durable(b->map_fd, ct->n, snapshot);
}

int content_sync(struct content *ct, struct error **errp)
{
	cleanup_backing struct backing *b = NULL;
	int r = backing_get(ct, false, &b);

	if (r == -ENOENT)
		return 0;
	if (r == 0 && !backing_whole(b))
		r = sync_partial(ct, b);
	if (r == 0 && atomic_load(&b->queued) && !atomic_load(&b->done))
		r = batch_flush(ct->c);
	if (r < 0)
		return error_set_errno(errp, -r, "cannot flush '%s'",
				       digest_to_hex(&ct->digest).str);
	return 0;
}
