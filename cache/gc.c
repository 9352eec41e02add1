#include "cache/gc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/time.h"
#include "cache/content_internal.h"
#include "cache/gc_internal.h"

#define PARTIAL_AGE_S 3600
#define TICK_NS       (20 * NS_PER_MS)

/* Something that may go. */
struct candidate {
	struct digest digest;
	char *partial; /* "ab/…" without its suffix; NULL: a blob */
	int64_t used_ns;
	uint64_t bytes;
};

struct gc {
	struct cache *c;
	const struct gc_options *opt;
	struct gc_report *report;
	struct digest_set needed;
	/* The leases' folder as it was then; 0: what is needed is not known. */
	struct timespec marked;
	struct candidate *list;
	size_t n, cap;
};

/*
 * Candidates.
 */

static void add_candidate(struct gc *g, const struct candidate *cand)
{
	ARRAY_GROW(g->list, g->n, g->cap);
	g->list[g->n++] = *cand;
}

static int look_at_blob(void *ctx, const char *name, const char *base,
			const struct stat *st)
{
	struct gc *g = ctx;
	struct candidate cand = {.bytes = (uint64_t)st->st_blocks * 512};
	struct stat index;

	if (digest_parse_hex(base, strlen(base), &cand.digest, NULL) < 0)
		return 0;
	g->report->bytes_before += cand.bytes;
	if (digest_set_has(&g->needed, &cand.digest)) {
		g->report->kept++;
		return 0;
	}
	if (st->st_nlink > 1) {
		g->report->kept_linked++;
		return 0;
	}
	/* The index is touched when a blob is used. */
	cand.used_ns = fstatat(g->c->room[ROOM_INDEX], name, &index,
			       AT_SYMLINK_NOFOLLOW) == 0
			       ? timespec_ns(&index.st_mtim)
			       : timespec_ns(&st->st_mtim);
	add_candidate(g, &cand);
	return 0;
}

static int look_at_partial(void *ctx, const char *name, const char *base,
			   const struct stat *st)
{
	struct gc *g = ctx;
	const char *dot = strrchr(name, '.');
	struct candidate cand = {
		.bytes = (uint64_t)st->st_blocks * 512,
		.used_ns = timespec_ns(&st->st_mtim),
	};

	g->report->bytes_before += cand.bytes;
	if (!dot || strcmp(dot, ".part") != 0 ||
	    strlen(base) < DIGEST_HEX_LEN ||
	    digest_parse_hex(base, DIGEST_HEX_LEN, &cand.digest, NULL) < 0)
		return 0;
	if (digest_set_has(&g->needed, &cand.digest)) {
		g->report->kept++;
		return 0;
	}
	if (time_wall_s() - st->st_mtime <
	    (g->opt->partial_age_s ? g->opt->partial_age_s : PARTIAL_AGE_S))
		return 0;
	cand.partial = xstrndup(name, (size_t)(dot - name));
	add_candidate(g, &cand);
	return 0;
}

static int by_use(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	return x->used_ns < y->used_ns ? -1 : x->used_ns > y->used_ns;
}

/*
 * Removing.
 */

static struct timespec leases_changed(struct cache *c)
{
	struct stat st = {0};

	(void)fstat(c->room[ROOM_LEASES], &st);
	return st.st_mtim;
}

/* Stamps come from a clock that ticks: two changes may have one stamp. */
static bool just_now(const struct timespec *t)
{
	return time_wall_ns() - timespec_ns(t) < TICK_NS;
}

/* A mount or a command may have begun since we looked. */
static int still_unneeded(struct gc *g, const struct digest *d,
			  struct error **errp)
{
	struct timespec changed = leases_changed(g->c);
	int r;

	if (timespec_ns(&changed) != timespec_ns(&g->marked) ||
	    just_now(&changed)) {
		g->marked = (struct timespec){0};
		r = gc_mark(g->c, g->opt, &g->needed, errp);
		if (r < 0)
			return r;
		g->marked = changed;
	}
	return digest_set_has(&g->needed, d) ? 0 : 1;
}

/* What was learnt while it was away is not all: a tree that is not there has no
 * blobs. Another that has its name by now is as good. */
static void put_back(struct gc *g, const char *tmp, const char *name)
{
	int blobs = g->c->room[ROOM_BLOBS], trash = g->c->room[ROOM_TRASH];

	if (rename_new(trash, tmp, blobs, name) == -EEXIST)
		unlinkat(trash, tmp, 0);
	g->marked = (struct timespec){0};
}

/* 1 gone, 0 kept. */
static int remove_blob(struct gc *g, const struct candidate *cand,
		       struct error **errp)
{
	struct shard_name name = shard_name(&cand->digest);
	int blobs = g->c->room[ROOM_BLOBS], trash = g->c->room[ROOM_TRASH];
	cleanup_fd int fd =
		openat(blobs, name.str,
		       O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	char tmp[RANDOM_NAME_SIZE];
	int r;

	/* Passed through, or being linked: its space would not be free. */
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return 0;
	random_name(tmp);
	if (renameat(blobs, name.str, trash, tmp) < 0)
		return 0;
	r = still_unneeded(g, &cand->digest, NULL);
	if (r <= 0)
		put_back(g, tmp, name.str);
	/* What a new lease needs may be said by this very document. */
	if (r < 0)
		r = MIN(still_unneeded(g, &cand->digest, errp), 0);
	if (r <= 0)
		return r;
	statindex_forget(g->c, &cand->digest);
	unlinkat(trash, tmp, 0);
	return 1;
}

static int remove_partial(struct gc *g, const struct candidate *cand)
{
	cleanup_free char *map = xasprintf("%s.map", cand->partial);
	cleanup_free char *part = xasprintf("%s.part", cand->partial);
	int dirfd = g->c->room[ROOM_PARTIAL];
	cleanup_fd int fd = openat(dirfd, map, O_RDWR | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0)
		chunk_map_set_state(fd, MAP_DEAD);
	unlinkat(dirfd, map, 0);
	unlinkat(dirfd, part, 0);
	return 1;
}

static int remove_one(struct gc *g, const struct candidate *cand,
		      struct error **errp)
{
	int r;

	r = op_go_on(g->opt->op, errp);
	if (r < 0)
		return r;
	r = still_unneeded(g, &cand->digest, errp);
	if (r > 0 && !g->opt->dry_run)
		r = cand->partial ? remove_partial(g, cand)
				  : remove_blob(g, cand, errp);
	if (r <= 0)
		return r;
	g->report->bytes_after -= MIN(cand->bytes, g->report->bytes_after);
	if (cand->partial)
		g->report->partials++;
	else
		g->report->blobs++;
	if (g->opt->removed)
		g->opt->removed(g->opt->ctx, &cand->digest, cand->bytes);
	return 1;
}

/* How much has to go, of what there is now. */
static uint64_t to_free(const struct gc *g)
{
	uint64_t bytes = g->report->bytes_before;
	uint64_t over =
		bytes > g->opt->max_bytes ? bytes - g->opt->max_bytes : 0;
	struct statvfs fs;

	if (g->opt->min_free && fstatvfs(g->c->dirfd, &fs) == 0) {
		uint64_t avail = (uint64_t)fs.f_bavail * fs.f_frsize;

		if (avail < g->opt->min_free)
			over = MAX(over, g->opt->min_free - avail);
	}
	return over ? MIN(over + MIN(g->opt->headroom, UINT64_MAX - over),
			  bytes)
		    : 0;
}

static int collect(struct gc *g, struct error **errp)
{
	uint64_t freed = 0;
	uint64_t want = to_free(g);
	int r = 0;

	g->report->bytes_after = g->report->bytes_before;
	if (want == 0)
		return 0;
	g->report->layers = gc_layers(g->c, &g->needed, g->opt->dry_run);
	if (g->n)
		qsort(g->list, g->n, sizeof(*g->list), by_use);
	for (size_t i = 0; r >= 0 && i < g->n && freed < want; i++) {
		r = remove_one(g, &g->list[i], errp);
		if (r > 0)
			freed += g->list[i].bytes;
	}
	if (r >= 0 && !g->opt->dry_run)
		gc_bundles(g->c, &g->needed);
	return r < 0 ? r : 0;
}

static int gc_locked(struct gc *g, struct error **errp)
{
	int r;

	g->marked = leases_changed(g->c);
	r = gc_mark(g->c, g->opt, &g->needed, errp);
	if (r < 0)
		return r;
	g->report->leftovers = gc_leftovers(g->c, g->opt->dry_run);
	r = room_walk(g->c, ROOM_BLOBS, look_at_blob, g);
	if (r == 0)
		r = room_walk(g->c, ROOM_PARTIAL, look_at_partial, g);
	if (r < 0)
		return error_set_errno(errp, -r, "cannot look at cache '%s'",
				       g->c->path);
	return collect(g, errp);
}

int cache_gc(struct cache *c, const struct gc_options *opt,
	     struct gc_report *ret, struct error **errp)
{
	struct gc_report report = {0};
	struct gc g = {.c = c, .opt = opt, .report = &report};
	cleanup_fd int lock =
		openat(c->room[ROOM_LOCKS], "gc",
		       O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = lock < 0 ? -errno : ofd_try_lock(lock, LOCK_EXCLUSIVE, 0, 1);

	if (r == -EAGAIN)
		return error_set(errp, EBUSY,
				 "cache '%s' is being cleaned already",
				 c->path);
	if (lock < 0)
		return error_set_errno(errp, -r, "cannot lock cache '%s'",
				       c->path);
	(void)batch_flush(c);
	r = gc_locked(&g, errp);
	for (size_t i = 0; i < g.n; i++)
		free(g.list[i].partial);
	free(g.list);
	digest_set_release(&g.needed);
	*ret = report;
	return r;
}
