/*
 * Sealing small contents, many at once: a flush of the disk costs the same for
 * one of them as for sixty-four.
 *
 *	put       a nameless file, then its name in partial/: other processes
 *	          see it, and hash it when they use it
 *	seal      queued here
 *	flush     read-only; all data to the disk; final names; the names to the
 *	          disk; then the partial's names go
 *
 * A kill before the flush leaves partials, which the next opener uses; a power
 * cut may leave bad ones, which their first reader removes.
 */
#include "cache/content_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"

#define BATCH_AGE_MS 1000
/* From here on one flush of the whole file system is cheaper than one a file */
#define SYNCFS_MIN 4

struct batch_entry {
	struct digest digest;
	struct backing *b;
	struct partial_name part;
};

struct batch {
	unsigned n;
	int64_t due_ns;
	struct batch_entry entries[BATCH_MAX];
};

static bool batch_names(const struct batch *ba, const struct digest *d)
{
	for (unsigned i = 0; ba && i < ba->n; i++)
		if (digest_equal(&ba->entries[i].digest, d))
			return true;
	return false;
}

bool batch_has(struct cache *c, const struct digest *d)
{
	bool found;

	mutex_lock(&c->lock);
	found = batch_names(c->batch, d) || batch_names(c->flushing, d);
	mutex_unlock(&c->lock);
	return found;
}

/*
 * The flush.
 */

static bool flush_together(const struct cache *c, const struct batch *ba)
{
	return ba->n >= SYNCFS_MIN && c->locks_trusted;
}

/* What cannot be flushed is thrown away: its fsync may succeed the next time
 * with the data lost. */
static void entry_drop(struct cache *c, struct batch_entry *e, int r)
{
	log_debug("cache: cannot seal '%s': %s", e->part.str, strerror(-r));
	unlinkat(c->room[ROOM_PARTIAL], e->part.str, 0);
	atomic_store(&e->b->done, true);
	backing_unref(e->b);
	e->b = NULL;
}

static int flush_data(struct cache *c, struct batch *ba)
{
	bool synced = flush_together(c, ba);
	int ret = 0;

	for (unsigned i = 0; synced && i < ba->n; i++)
		synced = fchmod(ba->entries[i].b->fd, 0444) == 0;
	synced = synced && syncfs(c->dirfd) == 0;
	for (unsigned i = 0; i < ba->n; i++) {
		int r = synced ? 0 : blob_flush(ba->entries[i].b->fd);

		if (r < 0) {
			entry_drop(c, &ba->entries[i], r);
			ret = r;
		}
	}
	return ret;
}

static int entry_name(struct cache *c, const struct batch_entry *e)
{
	const char *tmp = e->b->draft ? draft_name(e->b->draft) : NULL;

	return tmp ? blob_name(c, e->b->fd, ROOM_TMP, tmp, &e->digest)
		   : blob_name(c, e->b->fd, ROOM_PARTIAL, e->part.str,
			       &e->digest);
}

static int flush_names(struct cache *c, struct batch *ba)
{
	bool synced = flush_together(c, ba);
	int ret = 0;

	for (unsigned i = 0; i < ba->n; i++) {
		struct batch_entry *e = &ba->entries[i];
		int r = e->b ? entry_name(c, e) : 0;

		if (r < 0)
			entry_drop(c, e, r);
		/* Removed, as damage is, it is missing, which its content
		 * knows: no failure of the others. */
		if (r < 0 && r != -ENOENT && r != -ESTALE)
			ret = r;
	}
	synced = synced && syncfs(c->dirfd) == 0;
	for (unsigned i = 0; i < ba->n && !synced; i++) {
		int r = ba->entries[i].b
				? blob_sync_name(c, &ba->entries[i].digest,
						 true)
				: 0;

		ret = r < 0 ? r : ret;
	}
	return ret;
}

static void entries_done(struct cache *c, struct batch *ba)
{
	for (unsigned i = 0; i < ba->n; i++) {
		struct batch_entry *e = &ba->entries[i];

		if (!e->b)
			continue;
		unlinkat(c->room[ROOM_PARTIAL], e->part.str, 0);
		statindex_settle(e->b->fd);
		blob_record(c, e->b->fd, &e->digest);
		atomic_store(&e->b->done, true);
		backing_unref(e->b);
	}
}

static int batch_write(struct cache *c, struct batch *ba)
{
	int data = flush_data(c, ba);
	int names = flush_names(c, ba);

	entries_done(c, ba);
	return data < 0 ? data : names;
}

int batch_flush(struct cache *c)
{
	struct batch *ba;
	int r = 0;

	mutex_lock(&c->lock);
	while (c->flushing)
		cond_wait(&c->batch_flushed, &c->lock);
	ba = c->flushing = c->batch;
	c->batch = NULL;
	mutex_unlock(&c->lock);
	if (!ba)
		return 0;
	r = batch_write(c, ba);
	mutex_lock(&c->lock);
	c->flushing = NULL;
	cond_broadcast(&c->batch_flushed);
	mutex_unlock(&c->lock);
	free(ba);
	return r;
}

/*
 * The queue.
 */

/* True: it is time to flush. */
static bool batch_add_locked(struct cache *c, struct content *ct,
			     struct backing *b) REQUIRES(c->lock);
static bool batch_add_locked(struct cache *c, struct content *ct,
			     struct backing *b)
{
	struct batch_entry *e;

	if (!c->batch) {
		c->batch = xcalloc(1, sizeof(*c->batch));
		c->batch->due_ns = time_deadline_ms(BATCH_AGE_MS);
	}
	e = &c->batch->entries[c->batch->n++];
	e->digest = ct->digest;
	e->part = partial_name(ct, ".part");
	e->b = backing_ref(b);
	return c->batch->n >= c->batch_max ||
	       time_mono_ns() >= c->batch->due_ns;
}

int batch_add(struct content *ct, struct backing *b)
{
	struct cache *c = ct->c;
	bool due;

	if (atomic_exchange(&b->queued, true))
		return 0;
	for (;;) {
		mutex_lock(&c->lock);
		if (!c->batch || c->batch->n < c->batch_max)
			break;
		mutex_unlock(&c->lock); /* full: its flusher is on the way */
		(void)batch_flush(c);
	}
	due = batch_add_locked(c, ct, b);
	mutex_unlock(&c->lock);
	return due ? batch_flush(c) : 0;
}
