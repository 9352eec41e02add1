#include "cache/content.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/time.h"
#include "cache/content_internal.h"

/* How often a content is looked up anew when it changed under our hands. */
#define TRIES 4

uint32_t chunk_count(uint64_t size)
{
	return (uint32_t)(size / CHUNK_SIZE + (size % CHUNK_SIZE != 0));
}

uint32_t chunk_len(uint64_t size, uint32_t i)
{
	uint64_t off = (uint64_t)i * CHUNK_SIZE;

	return off >= size ? 0
			   : (uint32_t)MIN(size - off, (uint64_t)CHUNK_SIZE);
}

static uint64_t chunk_off(uint32_t i)
{
	return (uint64_t)i * CHUNK_SIZE;
}

/*
 * Opening. One content for each list of one digest; the list's address is part
 * of its name here, since each opener vouches for its own list only.
 */

struct content_id {
	struct digest digest;
	struct digest key;
	const struct digest *chunks;
};

struct digest content_key(uint64_t size, const struct digest *chunks,
			  uint32_t n)
{
	struct {
		uint64_t size;
		uint64_t chunk_size;
		struct digest list;
	} k = {.size = htole64(size), .chunk_size = htole64(CHUNK_SIZE)};

	k.list = digest_of_buf(chunks, (size_t)n * DIGEST_SIZE);
	return digest_of_buf(&k, sizeof(k));
}

static struct content *content_new(struct cache *c,
				   const struct content_spec *spec,
				   const struct content_id *id)
{
	struct content *ct = xcalloc(1, sizeof(*ct));

	ct->c = c;
	ct->digest = id->digest;
	ct->key = id->key;
	ct->size = spec->size;
	ct->n = chunk_count(spec->size);
	ct->chunks = id->chunks ? id->chunks : &ct->digest;
	ct->refs = 1;
	atomic_init(&ct->fault, FAULT_UNKNOWN);
	atomic_init(&ct->used, false);
	mutex_init(&ct->lock, LOCK_PARTIAL);
	cond_init(&ct->changed);
	return ct;
}

static void content_free(struct content *ct)
{
	if (ct->backing)
		backing_unref(ct->backing);
	ahead_free(ct->ahead);
	cond_destroy(&ct->changed);
	mutex_destroy(&ct->lock);
	free(ct);
}

static struct content_id content_id_of(const struct content_spec *spec)
{
	struct content_id id;

	memset(&id, 0, sizeof(id)); /* padding too: it is hashed as bytes */
	id.digest = spec->digest;
	if (spec->size > CHUNK_SIZE) {
		id.chunks = spec->chunks;
		id.key = content_key(spec->size, spec->chunks,
				     chunk_count(spec->size));
	} else {
		id.key = content_key(spec->size, &spec->digest,
				     chunk_count(spec->size));
	}
	return id;
}

int content_open(struct cache *c, const struct content_spec *spec,
		 struct content **ret, struct error **errp)
{
	struct content_id id;
	struct content *ct;

	if (spec->size > CONTENT_SIZE_MAX)
		return error_set(errp, EFBIG, "'%s' is too large: %llu bytes",
				 digest_to_hex(&spec->digest).str,
				 (unsigned long long)spec->size);
	if (spec->size > CHUNK_SIZE && !spec->chunks)
		return error_set(errp, EINVAL, "'%s' has no chunk list",
				 digest_to_hex(&spec->digest).str);
	id = content_id_of(spec);
	mutex_lock(&c->lock);
	ct = map_get(&c->contents, &id, sizeof(id));
	if (ct) {
		ct->refs++;
	} else {
		ct = content_new(c, spec, &id);
		map_put(&c->contents, &id, sizeof(id), ct);
	}
	mutex_unlock(&c->lock);
	*ret = ct;
	return 0;
}

void content_close(struct content *ct)
{
	struct cache *c = ct->c;
	struct content_id id;
	bool last;

	memset(&id, 0, sizeof(id));
	id.digest = ct->digest;
	id.key = ct->key;
	id.chunks = ct->size > CHUNK_SIZE ? ct->chunks : NULL;
	mutex_lock(&c->lock);
	last = --ct->refs == 0;
	if (last) {
		map_del(&c->contents, &id, sizeof(id));
		backing_unlist_locked(c, ct);
	}
	mutex_unlock(&c->lock);
	if (last)
		content_free(ct);
}

/*
 * Looking.
 */

static bool backing_has(const struct content *ct, const struct backing *b,
			uint32_t i)
{
	return backing_whole(b) || chunk_map_get(b->map_fd, ct->n, i) != 0;
}

uint64_t content_size(const struct content *ct)
{
	return ct->size;
}

/* Sealed, or queued for it; else whether to look at the disk again. */
static bool backing_sealed(const struct backing *b, bool *ret_stale)
{
	*ret_stale = false;
	if (b->sealed)
		return true;
	if (!backing_whole(b)) {
		*ret_stale = chunk_map_get_state(b->map_fd) != MAP_LIVE;
		return false;
	}
	*ret_stale = atomic_load(&b->done);
	return !*ret_stale && atomic_load(&b->queued);
}

/* Whoever finds it damaged takes its name away, or remembers it. */
static bool still_there(const struct content *ct, const struct backing *b)
{
	cleanup_fd int fd = -1;
	struct stat st;

	if (!b->foreign)
		return cache_blob_exists(ct->c, &ct->digest, ct->size);
	fd = alternates_open(ct->c, &ct->digest, ct->size, &st);
	return fd >= 0;
}

bool content_sealed(struct content *ct)
{
	bool sealed = false;
	bool stale = true;

	for (int i = 0; stale && i < TRIES; i++) {
		cleanup_backing struct backing *b = NULL;

		if (backing_get(ct, i > 0, &b) < 0)
			return false;
		sealed = backing_sealed(b, &stale);
		if (b->foreign &&
		    !blob_is_vouched_for(ct->c, &ct->digest, b->fd))
			return false;
		if (sealed && !still_there(ct, b))
			stale = true;
		if (stale) /* sealed or deleted by someone else */
			backing_forget(ct, b);
	}
	return sealed && !stale;
}

static uint32_t count_present(struct content *ct, bool fresh, uint32_t first,
			      uint32_t count)
{
	cleanup_backing struct backing *b = NULL;

	if (first >= ct->n || backing_get(ct, fresh, &b) < 0)
		return 0;
	count = MIN(count, ct->n - first);
	if (backing_whole(b))
		return count;
	return chunk_map_count(b->map_fd, ct->n, first, count);
}

bool content_has(struct content *ct, uint32_t i)
{
	return count_present(ct, false, i, 1) == 1;
}

uint32_t content_have(struct content *ct)
{
	return count_present(ct, false, 0, ct->n);
}

/*
 * Reading.
 */

bool chunk_is(const struct content *ct, uint32_t i, const void *buf, size_t n)
{
	struct digest got = digest_of_buf(buf, n);

	return n == chunk_len(ct->size, i) &&
	       digest_equal(&got, &ct->chunks[i]);
}

/*
 * The chunk is not what it should be. Returns 0 to look again, or what
 * content_read_chunk() returns.
 */
static int chunk_is_bad(struct content *ct, struct backing *b, uint32_t i)
{
	int r = -ENOENT;

	if (b->sealed) {
		r = heal_sealed(ct, b, i);
	} else if (backing_whole(b)) {
		partial_discard(ct, b);
		backing_forget(ct, b);
	} else if (chunk_map_get_state(b->map_fd) != MAP_LIVE) {
		backing_forget(ct, b);
		r = 0;
	} else {
		(void)chunk_map_set(b->map_fd, ct->n, i, 0);
	}
	return r;
}

/* One look. Its length; 0: look again; else -errno. */
static ssize_t read_chunk_once(struct content *ct, bool fresh, uint32_t i,
			       void *buf)
{
	cleanup_backing struct backing *b = NULL;
	int r = backing_get(ct, fresh, &b);
	ssize_t n;

	if (r < 0)
		return r;
	if (!backing_has(ct, b, i))
		return -ENOENT;
	n = io_pread_full(b->fd, buf, chunk_len(ct->size, i), chunk_off(i));
	/* What is not to be had of another's file is fetched. */
	if (n < 0 && n != -EIO && n != -ESTALE && !b->foreign)
		return n;
	if (n == -ESTALE) {
		backing_forget(ct, b);
		return 0;
	}
	if (n > 0 && chunk_is(ct, i, buf, (size_t)n))
		return n;
	return chunk_is_bad(ct, b, i);
}

ssize_t content_read_chunk(struct content *ct, uint32_t i, void *buf,
			   struct error **errp)
{
	ssize_t n = 0;

	if (i >= ct->n)
		return error_set(errp, EINVAL, "chunk %u of %u", i, ct->n);
	if (fault_known(ct))
		return fault_error(ct, errp);
	for (int tries = 0; n == 0 && tries < TRIES; tries++)
		n = read_chunk_once(ct, tries > 0, i, buf);
	if (n > 0)
		return n;
	if (n == -EBADMSG)
		return fault_error(ct, errp);
	if (n == -ENOENT)
		return error_set(errp, ENOENT, "chunk %u of '%s' is not here",
				 i, digest_to_hex(&ct->digest).str);
	return error_set_errno(errp, n ? (int)-n : EIO,
			       "cannot read chunk %u of '%s'", i,
			       digest_to_hex(&ct->digest).str);
}

/* The chunks that [@off, @off + @n) touches; false when it is outside. */
static bool chunk_range(const struct content *ct, uint64_t off, uint64_t n,
			uint32_t *ret_first, uint32_t *ret_count)
{
	if (n == 0 || off >= ct->size || n > ct->size - off)
		return false;
	*ret_first = (uint32_t)(off / CHUNK_SIZE);
	*ret_count = (uint32_t)((off + n - 1) / CHUNK_SIZE) - *ret_first + 1;
	return true;
}

/* Whoever can change the bytes could make a check of the whole file fail, and
 * each chunk's pass. */
static int read_foreign(struct content *ct, void *buf, size_t n, uint64_t off)
{
	cleanup_free unsigned char *chunk = xmalloc(CHUNK_SIZE);
	size_t done = 0;

	while (done < n) {
		uint32_t i = (uint32_t)((off + done) / CHUNK_SIZE);
		size_t skip = (size_t)(off + done - chunk_off(i));
		cleanup_error struct error *err = NULL;
		ssize_t got = content_read_chunk(ct, i, chunk, &err);
		size_t part;

		if (got < 0)
			return (int)got;
		part = MIN((size_t)got - skip, n - done);
		memcpy((char *)buf + done, chunk + skip, part);
		done += part;
	}
	return 0;
}

int content_read_unverified(struct content *ct, void *buf, size_t n,
			    uint64_t off)
{
	cleanup_backing struct backing *b = NULL;
	uint32_t first, count;
	ssize_t got;
	int r;

	if (n == 0)
		return 0;
	if (!chunk_range(ct, off, n, &first, &count))
		return -EINVAL;
	r = backing_get(ct, false, &b);
	if (r < 0)
		return r;
	if (b->foreign)
		return read_foreign(ct, buf, n, off);
	if (!backing_whole(b) &&
	    chunk_map_count(b->map_fd, ct->n, first, count) != count)
		return -ENOENT;
	got = io_pread_full(b->fd, buf, n, off);
	if (got < 0)
		return (int)got;
	/* Cut off: the caller's check fails, and content_recheck() heals. */
	memset((char *)buf + got, 0, n - (size_t)got);
	return 0;
}

int content_recheck(struct content *ct, uint64_t off, uint64_t n,
		    struct error **errp)
{
	cleanup_free void *buf = xmalloc(CHUNK_SIZE);
	uint32_t first, count;
	bool gone = false;

	if (!chunk_range(ct, off, n, &first, &count))
		return error_set(errp, EINVAL, "a range outside of '%s'",
				 digest_to_hex(&ct->digest).str);
	for (uint32_t i = first; i < first + count; i++) {
		cleanup_error struct error *err = NULL;
		ssize_t r = content_read_chunk(ct, i, buf, &err);

		if (r == -ENOENT)
			gone = true;
		else if (r < 0)
			return error_propagate(errp, &err, (int)r);
	}
	return gone ? error_set(errp, ENOENT, "damaged chunks of '%s' removed",
				digest_to_hex(&ct->digest).str)
		    : 0;
}

/*
 * Storing.
 */

static int put_single(struct content *ct, const void *buf, size_t n,
		      struct error **errp)
{
	cleanup_backing struct backing *b = NULL;
	cleanup_draft struct draft *s = NULL;
	struct partial_name name;
	int r = backing_get(ct, true, &b);

	if (r == 0)
		return 0; /* sealed, or waiting for it */
	if (r == -ENOENT)
		r = draft_new(ct->c, n, &s, errp);
	else
		return error_set_errno(errp, -r, "cannot look for '%s'",
				       digest_to_hex(&ct->digest).str);
	if (r == 0)
		r = draft_write(s, buf, n, errp);
	if (r < 0)
		return r;
	/* For other processes to find; a leftover of a power cut, which may be
	 * damaged, gives way when it is read. */
	name = partial_name(ct, ".part");
	if (shard_make(ct->c, ROOM_PARTIAL, name.str) >= 0)
		(void)link_fd(draft_fd(s), ct->c->room[ROOM_PARTIAL], name.str);
	/* One that waits for its name may have been removed meanwhile. */
	if (batch_has(ct->c, &ct->digest))
		(void)batch_flush(ct->c);
	if (blob_has_name(ct->c, &ct->digest, ct->size))
		/* Sealed since we looked, and its partial gone before ours
		 * came: nobody else would take it away. */
		partial_unlink_file(ct, draft_fd(s));
	else
		backing_adopt(ct, &s);
	return 0;
}

static int put_partial(struct content *ct, struct backing *b, uint32_t i,
		       const void *buf, size_t n, struct error **errp)
{
	int r = gate_enter(ct);

	if (r < 0)
		return error_set(errp, EAGAIN, "'%s' is being sealed",
				 digest_to_hex(&ct->digest).str);
	/* Sealed or deleted since we looked: it is not ours to write now. */
	if (chunk_map_get_state(b->map_fd) != MAP_LIVE) {
		gate_leave(ct);
		return -ESTALE;
	}
	r = io_pwrite_full(b->fd, buf, n, chunk_off(i));
	/* On its way to the disk while the next ones come: what is flushed at
	 * the end is little. No promise, so no error. */
	if (r == 0)
		(void)sync_file_range(b->fd, (off_t)chunk_off(i), (off_t)n,
				      SYNC_FILE_RANGE_WRITE);
	if (r == 0)
		r = chunk_map_set(b->map_fd, ct->n, i, CHUNK_WRITTEN);
	gate_leave(ct);
	if (r == -EBADF) /* opened while it was being sealed */
		return -ESTALE;
	if (r < 0)
		return error_set_errno(errp, -r,
				       "cannot store chunk %u of '%s'", i,
				       digest_to_hex(&ct->digest).str);
	return 0;
}

static int put_once(struct content *ct, uint32_t i, const void *buf, size_t n,
		    struct error **errp)
{
	cleanup_backing struct backing *b = NULL;
	int r = backing_get_or_make(ct, &b, errp);

	if (r < 0)
		return r;
	if (b->sealed)
		return 0;
	if (chunk_map_get_state(b->map_fd) != MAP_LIVE)
		r = -ESTALE;
	else if (backing_has(ct, b, i))
		return 0;
	else
		r = put_partial(ct, b, i, buf, n, errp);
	if (r == -ESTALE)
		backing_forget(ct, b);
	return r;
}

int content_put(struct content *ct, uint32_t i, const void *buf, size_t n,
		struct error **errp)
{
	int r = -ESTALE;

	if (i >= ct->n)
		return error_set(errp, EINVAL, "chunk %u of %u", i, ct->n);
	if (!chunk_is(ct, i, buf, n))
		return error_set(errp, EBADMSG,
				 "chunk %u of '%s' has other bytes than the "
				 "bundle says",
				 i, digest_to_hex(&ct->digest).str);
	if (fault_known(ct))
		return fault_error(ct, errp);
	if (ct->n == 1)
		return put_single(ct, buf, n, errp);
	for (int tries = 0; r == -ESTALE && tries < TRIES; tries++)
		r = put_once(ct, i, buf, n, errp);
	if (r == -ESTALE)
		return error_set(errp, EAGAIN, "'%s' is being sealed",
				 digest_to_hex(&ct->digest).str);
	return r;
}

bool content_busy(struct content *ct)
{
	if (ct->n <= 1)
		return false;
	if (gate_enter(ct) < 0)
		return true;
	gate_leave(ct);
	return false;
}

/*
 * Claims.
 */

#define CLAIM_POLL_MAX_MS 50

static uint64_t claim_base(const struct content *ct)
{
	return digest_prefix64(&ct->key) >> 2;
}

int content_claim(struct content *ct, uint32_t first, uint32_t n,
		  int64_t deadline_ns)
{
	int fd = ct->c->chunk_fd;
	uint64_t off = claim_base(ct) + first;

	for (int64_t pause = 1;; pause = MIN(2 * pause, CLAIM_POLL_MAX_MS)) {
		int r = ofd_try_lock(fd, LOCK_EXCLUSIVE, off, n);

		/* Looked at with the lock held: its last holder may have put
		 * the chunks just before it let go. */
		if (count_present(ct, true, first, n) == n) {
			if (r == 0)
				ofd_unlock(fd, off, n);
			return 1;
		}
		if (r != -EAGAIN) /* ours, or no locks here */
			return 0;
		if (time_mono_ns() >= deadline_ns)
			return -ETIMEDOUT;
		time_sleep_ms(pause);
	}
}

void content_unclaim(struct content *ct, uint32_t first, uint32_t n)
{
	ofd_unlock(ct->c->chunk_fd, claim_base(ct) + first, n);
}
