#include "fs/filler.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/sysinfo.h>

#include "base/alloc.h"
#include "base/lock.h"
#include "base/map.h"
#include "base/thread.h"
#include "base/time.h"
#include "fs/notifier.h"
#include "fs/sources.h"

/* So many reads of a folder's small files, and the others will be read, too. */
#define READS_ENOUGH 4u
/* More are not remembered. */
#define FOLDERS_MAX 65536u
/* What may be filled may be filled anew after so long. */
#define PERIOD_NS    (10 * 60 * NS_PER_S)
#define MEMORY_SHARE 4u

struct folder {
	uint32_t node;
	uint32_t next;  /* of its children, the first that was not seen to */
	unsigned reads; /* since it was listed, or last filled */
	bool queued;
	struct folder *behind; /* in the queue */
};

struct filler {
	struct mount *m;
	pthread_t thread;
	/* The thread's: the bytes that may still be filled, and until when
	 * these are all. */
	uint64_t room;
	int64_t until_ns;
	char *buf;

	struct mutex lock;
	struct cond changed;
	bool stop;
	struct map folders; /* by node; those that were listed */
	struct folder *first, **last;
};

/*
 * What was seen.
 */

static struct folder *find_locked(struct filler *f, uint32_t node)
	REQUIRES(f->lock);
static struct folder *find_locked(struct filler *f, uint32_t node)
{
	return map_get(&f->folders, &node, sizeof(node));
}

void filler_listed(struct filler *f, uint32_t folder)
{
	struct folder *d;

	if (!f)
		return;
	mutex_lock(&f->lock);
	if (!find_locked(f, folder) && map_count(&f->folders) < FOLDERS_MAX) {
		d = xcalloc(1, sizeof(*d));
		d->node = folder;
		map_put(&f->folders, &folder, sizeof(folder), d);
	}
	mutex_unlock(&f->lock);
}

static void queue_locked(struct filler *f, struct folder *d) REQUIRES(f->lock);
static void queue_locked(struct filler *f, struct folder *d)
{
	d->queued = true;
	d->behind = NULL;
	*f->last = d;
	f->last = &d->behind;
	cond_signal(&f->changed);
}

void filler_read(struct filler *f, const struct tree_node *n)
{
	struct folder *d;

	if (!f || n->size > NOTIFIER_STORE_MAX)
		return;
	mutex_lock(&f->lock);
	d = find_locked(f, n->parent);
	if (d && ++d->reads == READS_ENOUGH && !d->queued)
		queue_locked(f, d);
	mutex_unlock(&f->lock);
}

/*
 * Filling.
 */

static uint64_t room_there_is(const struct mount_options *o)
{
	uint64_t asked = (uint64_t)o->fill_mb * 1000 * 1000;
	struct sysinfo si;

	if (sysinfo(&si) < 0)
		return asked;
	return MIN(asked, (uint64_t)si.totalram * si.mem_unit / MEMORY_SHARE);
}

static bool has_room(struct filler *f, uint64_t n)
{
	int64_t now = time_mono_ns();

	if (now >= f->until_ns) {
		f->room = room_there_is(f->m->options);
		f->until_ns = now + PERIOD_NS;
	}
	return n <= f->room;
}

static bool is_wanted(const struct filler *f, const struct tree_node *n)
{
	struct tree_source src;

	return n->kind == TREE_FILE && n->size > 0 &&
	       n->size <= NOTIFIER_STORE_MAX && n->source != TREE_NONE &&
	       tree_source(f->m->tree, n->source, &src, NULL) == 0 &&
	       src.kind == TREE_SOURCE_PACK;
}

/* The whole file into our buffer: its size, or as fetch_try_read(). */
static ssize_t read_whole(struct filler *f, const struct tree_node *n)
{
	struct fetch_source *src;
	struct fetch_range range;
	ssize_t got;
	int r = sources_get(f->m->sources, n->source, &src, NULL);

	if (r < 0)
		return r;
	file_range(n, src, 0, n->size, &range);
	range.apart = true;
	got = fetch_try_read(f->m->fetcher, &range, f->buf, NULL);
	sources_put(f->m->sources, n->source);
	return got;
}

/* -EAGAIN: it is not local yet, -ENOSPC: there is no room now. What fails will
 * tell who reads it. */
static int fill_file(struct filler *f, uint32_t node)
{
	struct tree_node n;
	ssize_t got;

	if (tree_node(f->m->tree, node, &n, NULL) < 0 || !is_wanted(f, &n))
		return 0;
	if (!has_room(f, n.size))
		return -ENOSPC;
	got = read_whole(f, &n);
	if (got == -EAGAIN)
		return -EAGAIN;
	if (got != (ssize_t)n.size)
		return 0;
	if (!notifier_store((uint64_t)node + 1, f->buf, n.size))
		return -EPIPE;
	f->room -= n.size;
	stat_add(&f->m->stats->filled_files, 1);
	stat_add(&f->m->stats->filled_bytes, n.size);
	return 0;
}

static bool is_stopped(struct filler *f)
{
	bool stop;

	mutex_lock(&f->lock);
	stop = f->stop;
	mutex_unlock(&f->lock);
	return stop;
}

/* Of its children from @next on: where it ends. *@ret is 0 at the end of the
 * folder, or why it is not the end. */
static uint32_t fill_from(struct filler *f, uint32_t folder, uint32_t next,
			  int *ret)
{
	struct tree_node dir;

	*ret = tree_node(f->m->tree, folder, &dir, NULL);
	if (*ret == 0 && dir.kind != TREE_DIR)
		*ret = -ENOTDIR;
	for (; *ret == 0 && next < dir.count; next += *ret == 0)
		*ret = is_stopped(f) ? -ECANCELED
				     : fill_file(f, dir.first + next);
	if (!notifier_flush() && *ret == 0)
		*ret = -EPIPE;
	return next;
}

/* The next in the queue, or NULL: it is to end. */
static struct folder *take(struct filler *f)
{
	struct folder *d;

	mutex_lock(&f->lock);
	while (!f->first && !f->stop)
		cond_wait(&f->changed, &f->lock);
	d = f->stop ? NULL : f->first;
	if (d) {
		f->first = d->behind;
		if (!f->first)
			f->last = &f->first;
	}
	mutex_unlock(&f->lock);
	return d;
}

static bool comes_again(int r)
{
	return r == -EAGAIN || r == -ENOSPC;
}

/* One that is filled stays queued: it is not to be filled again. */
static void put_back(struct filler *f, struct folder *d, uint32_t next, int r)
{
	mutex_lock(&f->lock);
	d->next = next;
	d->reads = 0;
	d->queued = !comes_again(r);
	mutex_unlock(&f->lock);
}

static void *run(void *arg)
{
	struct filler *f = arg;
	struct folder *d;
	int r = 0;

	while ((r == 0 || comes_again(r)) && (d = take(f))) {
		uint32_t next = fill_from(f, d->node, d->next, &r);

		put_back(f, d, next, r);
	}
	return NULL;
}

/*
 * Its life.
 */

void filler_free(struct filler *f)
{
	size_t pos = 0;
	void *d;

	if (!f)
		return;
	while (map_next(&f->folders, &pos, NULL, NULL, &d))
		free(d);
	map_release(&f->folders);
	cond_destroy(&f->changed);
	mutex_destroy(&f->lock);
	free(f->buf);
	free(f);
}

struct filler *filler_start(struct mount *m, int device)
{
	struct filler *f;

	/* A recording has to see each read. And a device that only a dead
	 * worker may have had is not to be another's (handover_clone()). */
	if (m->recorder || !m->options->fill_mb ||
	    !handover_can_resend(m->handover->table) ||
	    !notifier_open(device)) {
		notifier_end();
		return NULL;
	}
	f = xcalloc(1, sizeof(*f));
	f->m = m;
	f->buf = xmalloc(NOTIFIER_STORE_MAX);
	f->last = &f->first;
	mutex_init(&f->lock, LOCK_MOUNT);
	cond_init(&f->changed);
	if (thread_start(&f->thread, "filler", run, f) == 0)
		return f;
	notifier_end();
	filler_free(f);
	return NULL;
}

void filler_stop(struct filler *f)
{
	if (!f)
		return;
	mutex_lock(&f->lock);
	f->stop = true;
	cond_signal(&f->changed);
	mutex_unlock(&f->lock);
	notifier_end();
	pthread_join(f->thread, NULL);
}
