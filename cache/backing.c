/*
 * Which descriptors a content uses now. They are opened when they are needed,
 * and closed for contents that were not used lately, so that a bundle of
 * thousands of contents does not run out of them.
 */
#include "cache/content_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/time.h"

/* How long "nothing on disk" is believed: other processes' work is seen this
 * much later, and a scan over many absent chunks costs no system calls. */
#define ABSENT_MS 5

static struct backing *backing_new(void)
{
	struct backing *b = xcalloc(1, sizeof(*b));

	atomic_init(&b->refs, 1);
	b->fd = -1;
	b->map_fd = -1;
	return b;
}

void backing_unref(struct backing *b)
{
	if (atomic_fetch_sub(&b->refs, 1) != 1)
		return;
	closep(&b->map_fd);
	if (b->draft)
		draft_discard(b->draft); /* its descriptor is @fd */
	else
		closep(&b->fd);
	free(b);
}

struct backing *backing_ref(struct backing *b)
{
	atomic_fetch_add(&b->refs, 1);
	return b;
}

static int open_sealed(struct content *ct, struct backing *b)
{
	struct stat st;
	int fd = blob_open_raw(ct->c, &ct->digest, ct->size, &st);

	if (fd < 0)
		return fd;
	b->fd = fd;
	b->sealed = true;
	b->foreign = !blob_is_ours(ct->c, &ct->digest, fd);
	statindex_touch(ct->c, &ct->digest);
	/* Perhaps a sealer was killed before it removed the partial's name. */
	if (st.st_nlink > 1)
		partial_unlink(ct);
	return 0;
}

static int open_what_is_there(struct content *ct, struct backing *b)
{
	int r = open_sealed(ct, b);

	if (r != -ENOENT || ct->n == 0)
		return r;
	r = ct->n > 1 ? partial_open(ct, b) : partial_open_single(ct, b);
	if (r == -ENOENT) /* it may have been sealed between the two looks */
		r = open_sealed(ct, b);
	return r;
}

/*
 * The list of contents that hold descriptors.
 */

void backing_unlist_locked(struct cache *c, struct content *ct)
{
	struct content_list *l = &c->open_contents;

	if (!ct->listed)
		return;
	if (ct->prev)
		ct->prev->next = ct->next;
	else
		l->first = ct->next;
	if (ct->next)
		ct->next->prev = ct->prev;
	else
		l->last = ct->prev;
	ct->prev = ct->next = NULL;
	ct->listed = false;
	l->count--;
}

static void list_append_locked(struct cache *c, struct content *ct)
	REQUIRES(c->lock);
static void list_append_locked(struct cache *c, struct content *ct)
{
	struct content_list *l = &c->open_contents;

	ct->prev = l->last;
	ct->next = NULL;
	if (l->last)
		l->last->next = ct;
	else
		l->first = ct;
	l->last = ct;
	ct->listed = true;
	l->count++;
}

/* The hash ahead goes with it: it has a reference, and is of no more use. */
static struct backing *take_backing_locked(struct content *ct)
	REQUIRES(ct->lock);
static struct backing *take_backing_locked(struct content *ct)
{
	ahead_free(steal_ptr(&ct->ahead));
	ct->absent_until = 0;
	return steal_ptr(&ct->backing);
}

static struct backing *take_backing(struct content *ct)
{
	struct backing *b;

	mutex_lock(&ct->lock);
	b = take_backing_locked(ct);
	mutex_unlock(&ct->lock);
	return b;
}

/* Close one content that was not used since the last look; when all were, any
 * but @keep. Nothing is lost: what it has is on the disk, under a name. */
static struct backing *evict_locked(struct cache *c, const struct content *keep)
	REQUIRES(c->lock);
static struct backing *evict_locked(struct cache *c, const struct content *keep)
{
	unsigned round = c->open_contents.count;

	for (unsigned i = 0; i < 2 * round && c->open_contents.first; i++) {
		struct content *ct = c->open_contents.first;
		bool used = atomic_exchange(&ct->used, false);
		struct backing *b;

		backing_unlist_locked(c, ct);
		if (used || ct == keep) {
			list_append_locked(c, ct);
			continue;
		}
		b = take_backing(ct);
		if (b)
			return b;
	}
	return NULL;
}

/* A file without a name, and that is not about to get one. */
static bool is_removed(const struct backing *b)
{
	struct stat st;

	return (!b->draft || atomic_load(&b->done)) && fstat(b->fd, &st) == 0 &&
	       st.st_nlink == 0;
}

static struct backing *take_removed(struct content *ct)
{
	struct backing *b = NULL;

	mutex_lock(&ct->lock);
	if (ct->backing && is_removed(ct->backing))
		b = take_backing_locked(ct);
	mutex_unlock(&ct->lock);
	return b;
}

static struct backing *find_removed_locked(struct cache *c) REQUIRES(c->lock);
static struct backing *find_removed_locked(struct cache *c)
{
	for (struct content *ct = c->open_contents.first; ct; ct = ct->next) {
		struct backing *b = take_removed(ct);

		if (b) {
			backing_unlist_locked(c, ct);
			return b;
		}
	}
	return NULL;
}

void cache_let_go(struct cache *c)
{
	struct backing *b;

	do {
		mutex_lock(&c->lock);
		b = find_removed_locked(c);
		mutex_unlock(&c->lock);
		if (b)
			backing_unref(b);
	} while (b);
}

/* Put @ct into the list; close others until it is short enough. */
static void keep_open(struct content *ct)
{
	struct cache *c = ct->c;
	struct backing *evicted;

	do {
		evicted = NULL;
		mutex_lock(&c->lock);
		if (!ct->listed)
			list_append_locked(c, ct);
		if (c->open_contents.count > c->open_contents.max)
			evicted = evict_locked(c, ct);
		mutex_unlock(&c->lock);
		if (evicted)
			backing_unref(evicted);
	} while (evicted);
}

/*
 * Getting one.
 */

typedef int open_fn(struct content *ct, struct backing *ret);

static int get_locked(struct content *ct, open_fn *open_it, bool *ret_opened,
		      struct backing **ret) REQUIRES(ct->lock);
static int get_locked(struct content *ct, open_fn *open_it, bool *ret_opened,
		      struct backing **ret)
{
	*ret_opened = false;
	if (!ct->backing) {
		struct backing *b = backing_new();
		int r = open_it(ct, b);

		if (r < 0) {
			backing_unref(b);
			return r;
		}
		ct->backing = b;
		*ret_opened = true;
	}
	*ret = backing_ref(ct->backing);
	return 0;
}

int backing_get(struct content *ct, bool fresh, struct backing **ret)
{
	bool opened = false;
	int r = -ENOENT;

	mutex_lock(&ct->lock);
	if (ct->backing || fresh || time_mono_ns() >= ct->absent_until)
		r = get_locked(ct, open_what_is_there, &opened, ret);
	if (r == -ENOENT && (fresh || time_mono_ns() >= ct->absent_until))
		ct->absent_until = time_deadline_ms(ABSENT_MS);
	mutex_unlock(&ct->lock);
	if (opened)
		keep_open(ct);
	if (r == 0 && !atomic_load_explicit(&ct->used, memory_order_relaxed))
		atomic_store_explicit(&ct->used, true, memory_order_relaxed);
	return r;
}

static int open_or_make(struct content *ct, struct backing *b)
{
	int r = open_what_is_there(ct, b);

	if (r != -ENOENT)
		return r;
	r = partial_make(ct, b);
	/* Sealed since we looked: its partial was gone, and we made another. */
	if (r == 0 && blob_has_name(ct->c, &ct->digest, ct->size)) {
		partial_discard(ct, b);
		closep(&b->map_fd);
		closep(&b->fd);
		r = open_sealed(ct, b);
	}
	return r;
}

int backing_get_or_make(struct content *ct, struct backing **ret,
			struct error **errp)
{
	bool opened = false;
	int r;

	mutex_lock(&ct->lock);
	r = get_locked(ct, open_or_make, &opened, ret);
	mutex_unlock(&ct->lock);
	if (opened)
		keep_open(ct);
	if (r < 0)
		return no_room(errp, r, digest_to_hex(&ct->digest).str);
	atomic_store_explicit(&ct->used, true, memory_order_relaxed);
	return 0;
}

void backing_adopt(struct content *ct, struct draft **take_s)
{
	struct backing *b = backing_new();

	b->draft = steal_ptr(take_s);
	b->fd = draft_fd(b->draft);
	mutex_lock(&ct->lock);
	if (!ct->backing)
		ct->backing = steal_ptr(&b);
	mutex_unlock(&ct->lock);
	if (b)
		backing_unref(b); /* another thread was first */
	else
		keep_open(ct);
}

void backing_forget(struct content *ct, struct backing *b)
{
	struct backing *old = NULL;

	mutex_lock(&ct->lock);
	if (ct->backing == b)
		old = take_backing_locked(ct);
	mutex_unlock(&ct->lock);
	if (old)
		backing_unref(old);
}
