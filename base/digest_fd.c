/*
 * Hashing files. A range that gets a digest of its own and one for each chunk
 * is hashed twice; from OVERLAP_MIN on a second thread hashes the whole while
 * the caller's reads and hashes the chunks. They share SLOTS blocks: the
 * caller fills the next one that is free, the other empties them in order.
 */
#include "base/digest.h"

#include <errno.h>
#include <pthread.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/thread.h"

#define BLOCK       ((size_t)256 << 10)
#define SLOTS       8
#define OVERLAP_MIN ((uint64_t)4 << 20)

static int read_block(int fd, void *buf, size_t n, uint64_t off,
		      struct error **errp)
{
	ssize_t got = io_pread_full(fd, buf, n, off);

	if (got < 0)
		return error_set_errno(errp, (int)-got, "cannot read");
	if ((size_t)got != n)
		return error_set(errp, EIO, "the file ends early");
	return 0;
}

int digest_of_fd(int fd, uint64_t off, uint64_t size, struct digest *ret,
		 struct error **errp)
{
	cleanup_hasher struct hasher *h = hasher_new();
	cleanup_free char *buf = xmalloc(BLOCK);

	while (size) {
		size_t n = (size_t)MIN(size, (uint64_t)BLOCK);
		int r = read_block(fd, buf, n, off, errp);

		if (r < 0)
			return r;
		hasher_update(h, buf, n);
		off += n;
		size -= n;
	}
	*ret = hasher_final(h);
	return 0;
}

/* The chunks of a stream, as its bytes come by. */
struct chunker {
	struct hasher *h;
	struct digest *list; /* room for all */
	size_t n;
	uint32_t chunk;
	uint32_t fill; /* bytes of the chunk in the making */
};

static void chunker_end_chunk(struct chunker *c)
{
	c->list[c->n++] = hasher_final(c->h);
	c->fill = 0;
}

static void chunker_feed(struct chunker *c, const char *p, size_t n)
{
	while (n) {
		size_t take = MIN(n, (size_t)(c->chunk - c->fill));

		hasher_update(c->h, p, take);
		c->fill += (uint32_t)take;
		if (c->fill == c->chunk)
			chunker_end_chunk(c);
		p += take;
		n -= take;
	}
}

/* The other thread: hashes blocks in order. */
struct whole {
	struct hasher *h;
	char *blocks; /* SLOTS × BLOCK */
	size_t len[SLOTS];
	bool threaded;
	pthread_t thread;
	struct mutex lock; /* of what follows */
	struct cond moved;
	uint64_t filled, emptied;
	bool ended;
};

static void *whole_run(void *arg)
{
	struct whole *w = arg;

	mutex_lock(&w->lock);
	for (;;) {
		size_t slot = w->emptied % SLOTS;

		if (w->emptied == w->filled) {
			if (w->ended)
				break;
			cond_wait(&w->moved, &w->lock);
			continue;
		}
		mutex_unlock(&w->lock);
		hasher_update(w->h, w->blocks + slot * BLOCK, w->len[slot]);
		mutex_lock(&w->lock);
		w->emptied++;
		cond_signal(&w->moved);
	}
	mutex_unlock(&w->lock);
	return NULL;
}

static void whole_start(struct whole *w, uint64_t size)
{
	*w = (struct whole){
		.h = hasher_new(),
		.blocks = xmalloc(SLOTS * BLOCK),
	};
	mutex_init(&w->lock, LOCK_HASH);
	cond_init(&w->moved);
	/* Without a thread to be had it only takes longer. */
	if (size >= OVERLAP_MIN)
		w->threaded =
			thread_start(&w->thread, "hash", whole_run, w) == 0;
}

/* The block to fill next. */
static char *whole_block(struct whole *w)
{
	size_t slot;

	mutex_lock(&w->lock);
	while (w->filled - w->emptied == SLOTS)
		cond_wait(&w->moved, &w->lock);
	slot = w->filled % SLOTS;
	mutex_unlock(&w->lock);
	return w->blocks + slot * BLOCK;
}

/* The block from whole_block() holds @n bytes, which stay readable until the
 * same slot comes round again. */
static void whole_push(struct whole *w, size_t n)
{
	mutex_lock(&w->lock);
	w->len[w->filled % SLOTS] = n;
	if (!w->threaded) {
		hasher_update(w->h, w->blocks + w->filled % SLOTS * BLOCK, n);
		w->emptied++;
	}
	w->filled++;
	cond_signal(&w->moved);
	mutex_unlock(&w->lock);
}

static struct digest whole_end(struct whole *w)
{
	struct digest d;

	mutex_lock(&w->lock);
	w->ended = true;
	cond_signal(&w->moved);
	mutex_unlock(&w->lock);
	if (w->threaded)
		pthread_join(w->thread, NULL);
	d = hasher_final(w->h);
	hasher_free(w->h);
	free(w->blocks);
	cond_destroy(&w->moved);
	mutex_destroy(&w->lock);
	return d;
}

static int feed_both(int fd, uint64_t off, uint64_t size, struct whole *w,
		     struct chunker *c, struct error **errp)
{
	while (size) {
		size_t n = (size_t)MIN(size, (uint64_t)BLOCK);
		char *block = whole_block(w);
		int r = read_block(fd, block, n, off, errp);

		if (r < 0)
			return r;
		whole_push(w, n);
		chunker_feed(c, block, n);
		off += n;
		size -= n;
	}
	if (c->fill)
		chunker_end_chunk(c);
	return 0;
}

int digest_of_fd_chunked(int fd, uint64_t off, uint64_t size, uint32_t chunk,
			 struct digest *ret, struct digest **ret_chunks,
			 size_t *ret_n, struct error **errp)
{
	cleanup_hasher struct hasher *h = NULL;
	cleanup_free struct digest *list = NULL;
	uint64_t count = size / chunk + (size % chunk != 0);
	struct chunker c;
	struct digest d;
	struct whole w;
	int r;

	if (size <= chunk)
		return digest_of_fd(fd, off, size, ret, errp);
	list = try_realloc(NULL, (size_t)count, sizeof(*list));
	if (!list)
		return error_set(errp, ENOMEM, "no memory for %llu chunks",
				 (unsigned long long)count);
	h = hasher_new();
	c = (struct chunker){.h = h, .list = list, .chunk = chunk};
	whole_start(&w, size);
	r = feed_both(fd, off, size, &w, &c, errp);
	d = whole_end(&w);
	if (r < 0)
		return r;
	*ret = d;
	*ret_chunks = steal_ptr(&list);
	*ret_n = c.n;
	return 0;
}
