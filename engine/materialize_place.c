/*
 * The staging folder .mops/tmp, and the way from there to final names.
 *
 * .mops is locked while there is one. Nothing has a final name before its
 * bytes are on the disk; a rename gives it. Every step down is opened below
 * the workdir without following a link.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "engine/materialize_internal.h"

#define OURS  ".mops"
#define STAGE "tmp"

struct mat_name mat_stage_name(size_t i)
{
	struct mat_name n;

	snprintf(n.str, sizeof(n.str), "%zu", i);
	return n;
}

static int not_ours(struct error **errp, const char *what)
{
	error_set_kind(errp, ERROR_CONFLICT, EEXIST, "%s", what);
	return error_hint(errp, -EEXIST,
			  "move it away, or write into another folder");
}

/* Whoever else could write to it could swap what is staged for other bytes. */
static int check_ours(int fd, struct error **errp)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_set_errno(errp, errno, "fstat");
	if (st.st_uid != geteuid())
		return not_ours(errp, "it belongs to another user");
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return not_ours(errp, "others can write to it");
	return 0;
}

static int open_ours(int dirfd, const char *name, int *ret, struct error **errp)
{
	cleanup_fd int fd = openat(
		dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r;

	if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
		return not_ours(errp, "it is not a folder");
	if (fd < 0)
		return error_set_errno(errp, errno, "opening it");
	r = check_ours(fd, errp);
	if (r >= 0)
		*ret = steal_fd(&fd);
	return r;
}

/* A folder of ours, made when there is none. With @replace what is no folder
 * gives way. */
static int our_folder(int dirfd, const char *name, bool replace, int *ret,
		      struct error **errp)
{
	struct stat st;

	if (replace && fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    !S_ISDIR(st.st_mode) && unlinkat(dirfd, name, 0) < 0)
		return error_set_errno(errp, errno, "removing it");
	if (mkdirat(dirfd, name, 0755) < 0 && errno != EEXIST)
		return error_set_errno(errp, errno, "making it");
	return open_ours(dirfd, name, ret, errp);
}

/* Another run in this workdir is waited for. */
static int lock(struct mat *m, int fd, struct error **errp)
{
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return 0; /* no locks here */
		if (op_cancelled(m->op))
			return error_set(errp, ECANCELED, "cancelled");
		if (time_mono_ns() >= op_deadline(m->op))
			return error_set(errp, ETIMEDOUT,
					 "another run is writing here");
		time_sleep_ms(20);
	}
	return 0;
}

/* Looking needs no lock: without one it sees what it sees. */
static int lock_if_ours(struct mat *m, struct error **errp)
{
	cleanup_fd int fd = -1;
	int r;

	if (open_ours(m->dest, OURS, &fd, NULL) < 0)
		return 0;
	r = lock(m, fd, errp);
	if (r >= 0)
		m->lock = steal_fd(&fd);
	return r;
}

/* What the user has under this name is his, as any other file of his. */
int mat_lock(struct mat *m, bool make, struct error **errp)
{
	cleanup_fd int fd = -1;
	int r;

	if (m->lock >= 0)
		return 0;
	if (!make)
		return lock_if_ours(m, errp);
	r = our_folder(m->dest, OURS, m->o->overwrite, &fd, errp);
	if (r < 0)
		return error_prefix(errp, r, "'%s/%s'", m->o->dest, OURS);
	r = lock(m, fd, errp);
	if (r >= 0)
		m->lock = steal_fd(&fd);
	return r;
}

int mat_stage_open(struct mat *m, struct error **errp)
{
	int r = io_remove_tree(m->lock, STAGE); /* of a killed run */

	if (r < 0)
		error_set_errno(errp, -r, "removing it");
	else
		r = our_folder(m->lock, STAGE, false, &m->stage, errp);
	return r < 0 ? error_prefix(errp, r, "'%s/%s/%s'", m->o->dest, OURS,
				    STAGE)
		     : 0;
}

void mat_stage_close(struct mat *m)
{
	if (m->stage >= 0) {
		io_remove_tree(m->lock, STAGE);
		closep(&m->stage);
	}
	closep(&m->lock);
	closep(&m->dest);
}

/*
 * Placing. The folder of the last entry is kept open: neighbours share it.
 */

struct placing {
	struct mat *m;
	char *folder; /* NULL: none yet */
	int fd;
};

static int open_folder(struct placing *p, const char *path, size_t n)
{
	if (p->folder && strlen(p->folder) == n && !memcmp(p->folder, path, n))
		return 0;
	free(p->folder);
	closep(&p->fd);
	p->folder = xstrndup(path, n);
	p->fd = io_open_beneath(p->m->dest, n ? p->folder : ".",
				O_PATH | O_DIRECTORY, 0);
	if (p->fd >= 0)
		return 0;
	freep(&p->folder);
	return p->fd;
}

static int place_folder(struct placing *p, const struct mat_entry *e,
			const char *name)
{
	if (e->action == MAT_REPLACED && unlinkat(p->fd, name, 0) < 0 &&
	    errno != ENOENT)
		return -errno;
	return mkdirat(p->fd, name, 0755) < 0 ? -errno : 0;
}

/* The name must be free, also where "A" and "a" are one name. */
static int place_new(struct placing *p, const char *from, const char *name)
{
	struct stat st;

	if (renameat2(p->m->stage, from, p->fd, name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (fstatat(p->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	return renameat(p->m->stage, from, p->fd, name) < 0 ? -errno : 0;
}

static int place_over(struct placing *p, const struct mat_entry *e,
		      const char *from, const char *name)
{
	if (e->folder_was && unlinkat(p->fd, name, AT_REMOVEDIR) < 0 &&
	    errno != ENOENT)
		return -errno;
	if (renameat(p->m->stage, from, p->fd, name) == 0)
		return 0;
	/* Below .mops everything is ours, folders in the way too. */
	if (errno != EISDIR ||
	    (e->kind != MAT_POINTER && e->kind != MAT_PROVENANCE) ||
	    io_remove_tree(p->fd, name) < 0)
		return -errno;
	return renameat(p->m->stage, from, p->fd, name) < 0 ? -errno : 0;
}

/* The folders above a pointer file: ours, made when they are needed. */
static int pointer_folders(struct placing *p, const char *path,
			   struct error **errp)
{
	const char *whole = path;
	cleanup_fd int fd = -1;
	int at = p->m->dest;

	for (const char *slash; (slash = strchr(path, '/')); path = slash + 1) {
		cleanup_free char *name =
			xstrndup(path, (size_t)(slash - path));
		int next = -1;
		int r = our_folder(at, name, true, &next, errp);

		if (r < 0)
			return error_prefix(errp, r, "folder '%s' of '%s'",
					    name, whole);
		closep(&fd);
		at = fd = next;
	}
	return 0;
}

static int place(struct placing *p, size_t i, const char *path)
{
	const struct mat_entry *e = &p->m->entries[i];
	struct mat_name from = mat_stage_name(i);
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	int r = open_folder(p, path, slash ? (size_t)(slash - path) : 0);

	if (r < 0)
		return r;
	if (e->kind == MAT_DIR)
		return place_folder(p, e, name);
	return e->action == MAT_CREATED ? place_new(p, from.str, name)
					: place_over(p, e, from.str, name);
}

static int place_entry(struct placing *p, size_t i, struct error **errp)
{
	const struct mat_entry *e = &p->m->entries[i];
	cleanup_strbuf struct strbuf path = STRBUF_INIT;
	struct tree_node n = {0};
	int r = mat_entry_path(p->m, e, &path, &n, errp);

	if (r >= 0 && e->kind == MAT_POINTER)
		r = pointer_folders(p, strbuf_str(&path), errp);
	if (r < 0)
		return r;
	r = place(p, i, strbuf_str(&path));
	if (r == -EEXIST)
		return error_set_kind(errp, ERROR_CONFLICT, EEXIST,
				      "'%s' appeared meanwhile, or is the same "
				      "name as another file's here",
				      strbuf_str(&path));
	return r < 0 ? error_set_errno(errp, -r, "placing '%s'",
				       strbuf_str(&path))
		     : 0;
}

static int place_kind(struct placing *p, unsigned kinds, struct error **errp)
{
	int r = 0;

	for (size_t i = 0; i < p->m->n && r >= 0; i++) {
		const struct mat_entry *e = &p->m->entries[i];

		if (mat_writes(e) && kinds & 1u << e->kind)
			r = place_entry(p, i, errp);
	}
	return r;
}

static int sync_all(struct mat *m, int fd, struct error **errp)
{
	return syncfs(fd) < 0 ? error_set_errno(errp, errno, "flushing '%s'",
						m->o->dest)
			      : 0;
}

/* Symlinks come when nothing is placed below a folder any more; what says that
 * all is there comes last. */
int mat_place(struct mat *m, struct error **errp)
{
	struct placing p = {.m = m, .fd = -1};
	int r = sync_all(m, m->stage, errp);

	if (r >= 0)
		r = place_kind(&p, 1u << MAT_DIR | 1u << MAT_FILE, errp);
	if (r >= 0)
		r = place_kind(&p, 1u << MAT_SYMLINK, errp);
	if (r >= 0)
		r = place_kind(&p, 1u << MAT_POINTER, errp);
	if (r >= 0)
		r = place_kind(&p, 1u << MAT_PROVENANCE, errp);
	free(p.folder);
	closep(&p.fd);
	return r < 0 ? r : sync_all(m, m->dest, errp);
}
