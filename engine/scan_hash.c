/*
 * Hashing what the cache of hashes does not know: in parallel, each file
 * opened, compared with what the walk saw, read, and compared again.
 */
#include <errno.h>
#include <fcntl.h>
#include <time.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/pool.h"
#include "base/time.h"
#include "cache/cache.h"
#include "engine/scan_walk.h"

/* Up to here a file is read in one piece, onto the stack. */
#define SMALL_FILE ((uint64_t)32 << 10)
/* From here on a file is begun before the smaller ones: the last file to end
 * decides when all have ended. */
#define LARGE_FILE ((off_t)16 << 20)

struct hashing {
	struct walk *w;
	struct progress *progress;
};

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* Nothing about the file that hashing depends on differs. */
static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
	       a->st_mode == b->st_mode && a->st_size == b->st_size &&
	       same_time(a->st_mtim, b->st_mtim) &&
	       same_time(a->st_ctim, b->st_ctim);
}

int scan_open(int rootfd, bool follow, const char *fs_path)
{
	int fd;

	if (!follow)
		return io_open_beneath(rootfd, fs_path, O_RDONLY | O_NONBLOCK,
				       0);
	fd = openat(rootfd, fs_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int hash_small(int fd, struct inv_entry *e, struct error **errp)
{
	char buf[SMALL_FILE];
	ssize_t n = io_pread_full(fd, buf, (size_t)e->size, 0);

	if (n < 0)
		return error_set_errno(errp, (int)-n, "cannot read");
	if ((uint64_t)n != e->size)
		return error_set(errp, EIO, "the file ends early");
	e->digest = digest_of_buf(buf, (size_t)n);
	return 0;
}

static int hash_content(int fd, struct inv_entry *e, struct error **errp)
{
	size_t n_chunks = 0;
	int r;

	if (e->size <= SMALL_FILE)
		return hash_small(fd, e, errp);
	if (e->size <= CHUNK_SIZE)
		return digest_of_fd(fd, 0, e->size, &e->digest, errp);
	if (e->size / CHUNK_SIZE >= UINT32_MAX)
		return error_set(errp, EINVAL, "the file is too large");
	r = digest_of_fd_chunked(fd, 0, e->size, CHUNK_SIZE, &e->digest,
				 &e->chunks, &n_chunks, errp);
	e->n_chunks = (uint32_t)n_chunks;
	return r;
}

/* A file that was changed while it was read has one of the two signs: it ended
 * early, or its stat differs. */
static int hash_open_file(int fd, struct inv_entry *e, const struct stat *seen,
			  struct error **errp)
{
	cleanup_error struct error *err = NULL;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return error_set_errno(errp, errno, "cannot stat '%s'",
				       e->path);
	if (!same_file(&st, seen))
		return scan_changed(errp, e->path);
	r = hash_content(fd, e, &err);
	if (fstat(fd, &st) == 0 && !same_file(&st, seen))
		return scan_changed(errp, e->path);
	error_prefix(&err, r, "'%s'", e->path);
	return error_propagate(errp, &err, r);
}

static int hash_one(void *ctx, size_t i, struct error **errp)
{
	struct hashing *h = ctx;
	const struct unhashed *u = &h->w->unhashed[i];
	const struct scan_options *o = h->w->o;
	struct inv_entry *e = &h->w->entries[u->entry];
	int64_t begun = time_wall_ns();
	cleanup_fd int fd = -1;
	int r;

	r = op_go_on(o->op, errp);
	if (r < 0)
		return r;
	fd = scan_open(h->w->rootfd, o->follow_symlinks, e->fs_path);
	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
		return scan_changed(errp, e->path);
	if (fd < 0)
		return error_set_errno(errp, -fd, "cannot open '%s'", e->path);
	r = hash_open_file(fd, e, &u->st, errp);
	if (r < 0)
		return r;
	if (o->hashes)
		hashes_put(o->hashes, e->fs_path, &u->st, begun, &e->digest,
			   e->chunks, e->n_chunks);
	progress_add(o->progress, 1, e->size);
	return 0;
}

/* Large files first, the largest before all; the others stay in the order of
 * the walk, which is near to theirs on the disk. */
static int compare_turns(const void *a, const void *b)
{
	const struct unhashed *x = a, *y = b;
	off_t sx = x->st.st_size >= LARGE_FILE ? x->st.st_size : 0;
	off_t sy = y->st.st_size >= LARGE_FILE ? y->st.st_size : 0;

	if (sx != sy)
		return sx > sy ? -1 : 1;
	return x->entry < y->entry ? -1 : x->entry > y->entry;
}

int scan_hash(struct walk *w, struct error **errp)
{
	struct hashing h = {.w = w};
	unsigned threads = w->o->threads ? w->o->threads : cpu_count();
	cleanup_pool struct pool *pool = NULL;

	if (!w->n_unhashed)
		return 0;
	progress_total(w->o->progress, w->n_unhashed, w->unhashed_bytes);
	qsort(w->unhashed, w->n_unhashed, sizeof(*w->unhashed), compare_turns);
	/* The calling thread works too. */
	if (threads > 1 && w->n_unhashed > 1)
		pool = pool_new("mops-scan", threads - 1);
	if (pool)
		return pool_for_each(pool, w->n_unhashed, hash_one, &h, errp);
	for (size_t i = 0; i < w->n_unhashed; i++) {
		int r = hash_one(&h, i, errp);

		if (r < 0)
			return r;
	}
	return 0;
}
