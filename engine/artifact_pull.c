/*
 * The files of an artifact into a folder: checked for conflicts, then each
 * downloaded beside its final name and hashed on the way.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/path.h"
#include "base/pool.h"
#include "base/progress.h"
#include "base/random.h"
#include "engine/artifact.h"
#include "engine/glob.h"

#define DOWNLOADS 2 /* of a file whose bytes were wrong once */

enum state { STATE_LEAVE, STATE_CREATE, STATE_REPLACE };

struct puller {
	const struct artifact *a;
	const struct artifact_pull *o;
	const struct op *op;
	int dest;
	enum state *states; /* one per file */
	struct progress *progress;
};

void artifact_pulled_release(struct artifact_pulled *p)
{
	strv_free(p->conflicts);
	*p = (struct artifact_pulled){0};
}

/*
 * What is there.
 */

/* 1 the same content, 0 another, or something that is no file. */
static int is_same(const struct puller *p, const struct artifact_file *f,
		   struct error **errp)
{
	cleanup_fd int fd = io_open_beneath(
		p->dest, f->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	struct stat st;
	struct digest d;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size != f->desc->size)
		return 0;
	r = digest_of_fd(fd, 0, f->desc->size, &d, errp);
	return r < 0 ? r : digest_equal(&d, &f->desc->digest);
}

/* The folder of @path below the destination, made when @make. */
static int open_folder(const struct puller *p, const char *path, bool make)
{
	const char *slash = strrchr(path, '/');
	cleanup_free char *folder =
		slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup(".");
	int r = make && slash ? io_mkdirs_beneath(p->dest, folder, 0777) : 0;

	return r < 0 ? r
		     : io_open_beneath(p->dest, folder, O_RDONLY | O_DIRECTORY,
				       0);
}

static const char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static int look_at(struct puller *p, size_t i, struct artifact_pulled *out,
		   struct error **errp)
{
	const struct artifact_file *f = &p->a->files[i];
	cleanup_fd int folder = open_folder(p, f->path, false);
	struct stat st;
	int r;

	p->states[i] = STATE_CREATE;
	if (folder == -ENOENT)
		return 0;
	if (folder < 0)
		r = 0; /* a file or a symlink stands where a folder must be */
	else if (fstatat(folder, name_of(f->path), &st, AT_SYMLINK_NOFOLLOW) <
		 0)
		return errno == ENOENT
			       ? 0
			       : error_set_errno(errp, errno, "looking at '%s'",
						 f->path);
	else
		r = is_same(p, f, errp);
	if (r < 0)
		return r;
	p->states[i] = r ? STATE_LEAVE : STATE_REPLACE;
	if (!r && (folder < 0 || !p->o->overwrite || S_ISDIR(st.st_mode)))
		strv_append(&out->conflicts, xstrdup(f->path));
	return 0;
}

/*
 * One file.
 */

struct writing {
	struct sink sink;
	int fd;
	uint64_t off;
	struct hasher *hasher;
	struct progress *progress;
};

static int write_hashed(struct sink *s, const void *buf, size_t n,
			struct error **errp)
{
	struct writing *w = (struct writing *)s;
	int r = io_pwrite_full(w->fd, buf, n, w->off);

	if (r < 0)
		return error_set_errno(errp, -r, "writing");
	hasher_update(w->hasher, buf, n);
	w->off += n;
	progress_add(w->progress, 0, n);
	return 0;
}

static int download(const struct puller *p, const struct artifact_file *f,
		    int fd, struct error **errp)
{
	struct registry *reg = p->a->registry;
	const struct descriptor *d = f->desc;

	for (int i = 0; i < DOWNLOADS; i++) {
		cleanup_hasher struct hasher *hasher = hasher_new();
		struct writing w = {
			.sink = {.write = write_hashed},
			.fd = fd,
			.hasher = hasher,
			.progress = p->progress,
		};
		struct digest got;
		int r = 0;

		if (d->size)
			r = reg->ops->read_blob(reg, p->a->repo, &d->digest,
						d->size, 0, d->size, &w.sink,
						p->op, errp);
		if (r == -ENOENT) /* the artifact itself was found */
			error_kind(errp, r, ERROR_DOWNLOAD);
		if (r < 0)
			return r;
		got = hasher_final(hasher);
		if (w.off == d->size && digest_equal(&got, &d->digest))
			return 0;
	}
	return error_set(errp, EBADMSG, "blob '%s' arrived wrong twice",
			 digest_to_str(&d->digest).str);
}

static int put_in_place(const struct puller *p, int folder, const char *temp,
			const char *name, enum state state, struct error **errp)
{
	unsigned flags = state == STATE_REPLACE ? 0 : RENAME_NOREPLACE;

	if (renameat2(folder, temp, folder, name, flags) == 0)
		return 0;
	/* A file system without that flag; nothing was there a moment ago. */
	if (errno == EINVAL && renameat(folder, temp, folder, name) == 0)
		return 0;
	if (errno == EEXIST)
		return error_set_kind(errp, ERROR_CONFLICT, EEXIST,
				      "it appeared meanwhile");
	return error_set_errno(errp, errno, "renaming");
}

static int fill(const struct puller *p, const struct artifact_file *f, int fd,
		struct error **errp)
{
	int r = download(p, f, fd, errp);

	if (r == 0 && fsync(fd) < 0)
		r = error_set_errno(errp, errno, "flushing");
	return r;
}

static int write_file(const struct puller *p, const struct artifact_file *f,
		      enum state state, struct error **errp)
{
	cleanup_fd int folder = open_folder(p, f->path, true);
	cleanup_free char *temp = xasprintf(
		".mops-%016llx", (unsigned long long)random_below(UINT64_MAX));
	cleanup_fd int fd = -1;
	int r;

	if (folder < 0)
		return error_set_errno(errp, -folder, "making its folder");
	fd = openat(folder, temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0)
		return error_set_errno(errp, errno, "creating");
	r = fill(p, f, fd, errp);
	if (r == 0)
		r = put_in_place(p, folder, temp, name_of(f->path), state,
				 errp);
	if (r < 0)
		unlinkat(folder, temp, 0);
	else
		io_fsync_dir(folder);
	return r;
}

static int pull_one(void *ctx, size_t i, struct error **errp)
{
	struct puller *p = ctx;
	const struct artifact_file *f = &p->a->files[i];
	int r = 0;

	if (p->states[i] != STATE_LEAVE)
		r = write_file(p, f, p->states[i], errp);
	if (r < 0)
		return error_prefix(errp, r, "'%s'", f->path);
	progress_add(p->progress, 1, 0);
	return 0;
}

/*
 * All of them.
 */

static int look(struct puller *p, const struct glob *g,
		struct artifact_pulled *out, struct error **errp)
{
	for (size_t i = 0; i < p->a->n_files; i++) {
		const struct artifact_file *f = &p->a->files[i];
		int r;

		if (g && !glob_match(g, f->path, strlen(f->path)))
			continue; /* STATE_LEAVE */
		r = look_at(p, i, out, errp);
		if (r < 0)
			return r;
		out->files++;
		out->bytes += f->desc->size;
		out->created += p->states[i] == STATE_CREATE;
		out->replaced += p->states[i] == STATE_REPLACE;
		out->unchanged += p->states[i] == STATE_LEAVE;
	}
	if (!out->conflicts)
		return 0;
	return error_hint(errp,
			  error_set_kind(errp, ERROR_CONFLICT, EEXIST,
					 "%zu files differ in '%s'",
					 strv_len(out->conflicts), p->o->dest),
			  "--overwrite replaces them");
}

static int pull_all(struct puller *p, struct artifact_pulled *out,
		    struct error **errp)
{
	cleanup_pool struct pool *pool = NULL;
	cleanup_glob struct glob *g = NULL;
	int r = p->o->glob ? glob_compile(p->o->glob, &g, errp) : 0;

	if (r == 0)
		r = look(p, g, out, errp);
	if (r < 0)
		return r;
	p->progress = progress_new("pulling", p->o->show_progress);
	progress_total(p->progress, out->files, out->bytes);
	pool = pool_new("pull", p->o->concurrency ? p->o->concurrency : 8);
	r = pool_for_each(pool, p->a->n_files, pull_one, p, errp);
	progress_free(p->progress);
	return r;
}

int artifact_pull(const struct artifact *a, const struct artifact_pull *o,
		  struct artifact_pulled *ret, const struct op *op,
		  struct error **errp)
{
	cleanup_free enum state *states =
		xcalloc(a->n_files + 1, sizeof(*states));
	struct puller p = {.a = a, .o = o, .op = op, .states = states};
	cleanup_fd int dest = -1;
	int r = io_mkdirs(o->dest, 0777);

	*ret = (struct artifact_pulled){0};
	if (r < 0)
		return error_set_errno(errp, -r, "cannot make '%s'", o->dest);
	dest = open(o->dest, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dest < 0)
		return error_set_errno(errp, errno, "cannot open '%s'",
				       o->dest);
	p.dest = dest;
	return pull_all(&p, ret, errp);
}
