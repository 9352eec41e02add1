/* Reading what is local: checked chunks in memory, else the cache's, which are
 * checked on their way there. */
#include "engine/fetch.h"

#include <errno.h>

#include "engine/fetch_internal.h"

/* A file of a pack that fits one buffer is checked by its own digest. */
static bool by_file(const struct fetch_range *r)
{
	return r->file_digest && r->file_size <= CHUNK_SIZE &&
	       r->source->kind == TREE_SOURCE_PACK;
}

void fetch_range_chunks(const struct fetch_range *r, uint32_t *ret_first,
			uint32_t *ret_end)
{
	uint64_t off = by_file(r) ? r->file_off : r->off;
	uint64_t len = by_file(r) ? r->file_size : r->len;

	*ret_first = (uint32_t)(off / CHUNK_SIZE);
	*ret_end = (uint32_t)((off + len + CHUNK_SIZE - 1) / CHUNK_SIZE);
}

static bool within(uint64_t off, uint64_t len, uint64_t from, uint64_t size)
{
	return off >= from && off - from <= size && len <= size - (off - from);
}

int fetch_range_check(const struct fetch_range *r, struct error **errp)
{
	bool ok = within(r->off, r->len, 0, r->source->size) && r->len;

	if (ok && r->file_digest)
		ok = within(r->file_off, r->file_size, 0, r->source->size) &&
		     within(r->off, r->len, r->file_off, r->file_size);
	return ok ? 0 : error_set(errp, EINVAL, "a range outside its source");
}

/* Note the access, and learn of a source that is wrong for good. */
static int note(struct fetcher *f, const struct fetch_range *r,
		struct error **errp)
{
	struct fetch_source *s = r->source;
	struct error *err = NULL;
	uint32_t first, end;

	fetch_range_chunks(r, &first, &end);
	fetcher_lock(f);
	if (s->fault)
		err = error_copy(s->fault);
	else if (!r->apart)
		fetch_note_locked(s, first, end);
	fetcher_unlock(f);
	return err ? error_propagate(errp, &err, -err->code) : 0;
}

static void copy_part(const struct fetch_range *r, uint64_t from,
		      const struct fetch_buf *b, void *buf)
{
	uint64_t lo = MAX(from, r->off);
	uint64_t hi = MIN(from + b->len, r->off + r->len);

	memcpy((char *)buf + (lo - r->off), b->data + (lo - from), hi - lo);
}

/* True: every chunk of the range was in memory. */
static bool read_memory(struct fetcher *f, const struct fetch_range *r,
			void *buf)
{
	for (uint64_t i = r->off / CHUNK_SIZE; i * CHUNK_SIZE < r->off + r->len;
	     i++) {
		struct fetch_key key = fetch_chunk_key(r->source, (uint32_t)i);
		cleanup_fetch_buf struct fetch_buf *b =
			fetch_memory_get(f->memory, &key);

		if (!b)
			return false;
		copy_part(r, i * CHUNK_SIZE, b, buf);
	}
	return true;
}

/*
 * A file that is checked as a whole lies in one chunk or two. What is in memory
 * was verified as a chunk; what is on the disk is verified as a chunk only when
 * the file is not right.
 */
struct piece {
	uint64_t off;
	size_t len;
	bool unverified;
};

static int read_piece(struct fetcher *f, const struct fetch_range *r,
		      struct piece *p, void *buf)
{
	struct fetch_range part = {.off = p->off, .len = p->len};
	uint32_t i = (uint32_t)(p->off / CHUNK_SIZE);
	struct fetch_key key = fetch_chunk_key(r->source, i);
	cleanup_fetch_buf struct fetch_buf *b =
		fetch_memory_get(f->memory, &key);

	p->unverified = !b;
	if (!b)
		return content_read_unverified(r->source->content, buf, p->len,
					       p->off);
	copy_part(&part, (uint64_t)i * CHUNK_SIZE, b, buf);
	return 0;
}

/* -EAGAIN: a piece was damaged, and is gone. */
static int recheck(const struct fetch_range *r, const struct piece *p,
		   struct error **errp)
{
	cleanup_error struct error *err = NULL;
	int n = p->unverified ? content_recheck(r->source->content, p->off,
						p->len, &err)
			      : 0;

	return n == -ENOENT ? -EAGAIN : error_propagate(errp, &err, n);
}

static int load_file(struct fetcher *f, const struct fetch_range *r,
		     struct fetch_buf **ret, struct error **errp)
{
	cleanup_fetch_buf struct fetch_buf *b =
		fetch_buf_new((uint32_t)r->file_size);
	uint64_t end = r->file_off + r->file_size;
	struct piece pieces[2];
	struct digest got;
	unsigned k = 0;
	int n = 0;

	if (!b)
		return error_set_errno(errp, ENOMEM, "a file's buffer");
	for (uint64_t off = r->file_off; off < end; k++) {
		uint64_t to = MIN(end, (off / CHUNK_SIZE + 1) * CHUNK_SIZE);

		pieces[k] = (struct piece){.off = off, .len = to - off};
		n = read_piece(f, r, &pieces[k], b->data + (off - r->file_off));
		if (n < 0)
			return n == -ENOENT
				       ? -EAGAIN
				       : error_set_errno(errp, -n,
							 "reading the cache");
		off = to;
	}
	got = digest_of_buf(b->data, b->len);
	if (digest_equal(&got, r->file_digest)) {
		*ret = steal_ptr(&b);
		return 0;
	}
	for (unsigned i = 0; n >= 0 && i < k; i++)
		n = recheck(r, &pieces[i], errp);
	return n < 0 ? n
		     : error_set(errp, EBADMSG,
				 "a pack holds other bytes than its tree says "
				 "for '%s'",
				 digest_to_str(r->file_digest).str);
}

static int load_chunk(const struct fetch_range *r, uint32_t i,
		      struct fetch_buf **ret, struct error **errp)
{
	struct fetch_source *s = r->source;
	cleanup_error struct error *err = NULL;
	cleanup_fetch_buf struct fetch_buf *b = NULL;
	ssize_t n;

	if (!content_has(s->content, i))
		return -EAGAIN;
	b = fetch_buf_new(CHUNK_SIZE);
	if (!b)
		return error_set_errno(errp, ENOMEM, "a chunk buffer");
	n = content_read_chunk(s->content, i, b->data, &err);
	if (n == -ENOENT)
		return -EAGAIN;
	if (n < 0)
		return error_propagate(errp, &err, (int)n);
	b->len = (uint32_t)n; /* what the grid says: chunk_len() */
	*ret = steal_ptr(&b);
	return 0;
}

static int get_file(struct fetcher *f, const struct fetch_range *r,
		    struct fetch_buf **ret, struct error **errp)
{
	struct fetch_key key = {*r->file_digest, (uint32_t)r->file_size};
	int n = 0;

	*ret = fetch_memory_get_or_load(f->memory, &key);
	if (!*ret) {
		n = load_file(f, r, ret, errp);
		fetch_memory_loaded(f->memory, &key, *ret);
	}
	return n;
}

static int get_chunk(struct fetcher *f, const struct fetch_range *r, uint32_t i,
		     struct fetch_buf **ret, struct error **errp)
{
	struct fetch_key key = fetch_chunk_key(r->source, i);
	int n = 0;

	*ret = fetch_memory_get_or_load(f->memory, &key);
	if (!*ret) {
		n = load_chunk(r, i, ret, errp);
		fetch_memory_loaded(f->memory, &key, *ret);
	}
	return n;
}

static int read_chunks(struct fetcher *f, const struct fetch_range *r,
		       void *buf, struct error **errp)
{
	for (uint64_t i = r->off / CHUNK_SIZE; i * CHUNK_SIZE < r->off + r->len;
	     i++) {
		cleanup_fetch_buf struct fetch_buf *b = NULL;
		int n = get_chunk(f, r, (uint32_t)i, &b, errp);

		if (n < 0)
			return n;
		copy_part(r, i * CHUNK_SIZE, b, buf);
	}
	return 0;
}

static int read_file(struct fetcher *f, const struct fetch_range *r, void *buf,
		     struct error **errp)
{
	cleanup_fetch_buf struct fetch_buf *b = NULL;
	int n = get_file(f, r, &b, errp);

	if (n >= 0)
		copy_part(r, r->file_off, b, buf);
	return n;
}

ssize_t fetch_try_read(struct fetcher *f, const struct fetch_range *r,
		       void *buf, struct error **errp)
{
	int n = fetch_range_check(r, errp);

	if (n >= 0)
		n = note(f, r, errp);
	if (n < 0)
		return n;
	/* Right chunks do not make a file that is what the tree says. */
	if (by_file(r))
		n = read_file(f, r, buf, errp);
	else if (!read_memory(f, r, buf))
		n = read_chunks(f, r, buf, errp);
	if (n < 0)
		return n;
	atomic_fetch_add(&f->counted->bytes_cache, r->len);
	return (ssize_t)r->len;
}
