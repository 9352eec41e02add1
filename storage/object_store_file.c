#include "storage/object_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/io.h"
#include "storage/staged.h"

#define PIECE ((size_t)256 << 10)

struct object_store_file {
	struct object_store store;
	char **roots;
};

static struct object_store_file *file_of(struct object_store *s)
{
	return (struct object_store_file *)s;
}

/* The rest of @path below @root, NULL when it is not below it. */
static const char *below(const char *root, const char *path)
{
	size_t n = strlen(root);

	while (n > 0 && root[n - 1] == '/')
		n--;
	if (root[0] != '/' || strncmp(root, path, n) != 0 || path[n] != '/')
		return NULL;
	path += n + strspn(path + n, "/");
	return *path ? path : NULL;
}

/* Errors of a path that a bundle wrote: a symlink on the way is refused like
 * a place outside the roots. */
static int path_error(struct error **errp, int code, const char *path)
{
	if (code == ELOOP || code == EXDEV)
		return error_set(errp, EACCES,
				 "file '%s' lies behind a symlink or '..'",
				 path);
	return error_set_errno(errp, code, "file '%s'", path);
}

/* A descriptor of the root that allows @path, and the rest of it. */
static int open_root(struct object_store *s, const char *path,
		     const char **ret_rest, struct error **errp)
{
	char **root;

	for (root = file_of(s)->roots; root && *root; root++) {
		const char *rest = below(*root, path);
		int fd;

		if (!rest)
			continue;
		fd = open(*root, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return error_set_errno(errp, errno, "folder '%s'",
					       *root);
		*ret_rest = rest;
		return fd;
	}
	error_set(errp, EACCES, "file '%s' is not below an allowed folder",
		  path);
	return error_hint(errp, -EACCES,
			  "'file_roots' lists the folders that file:// "
			  "pointers may name");
}

static int open_file(struct object_store *s, const struct pointer_uri *uri,
		     struct stat *ret_st, struct error **errp)
{
	const char *rest = "";
	cleanup_fd int rootfd = open_root(s, uri->key, &rest, errp);
	cleanup_fd int fd = -1;

	if (rootfd < 0)
		return rootfd;
	fd = io_open_beneath(rootfd, rest,
			     O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
	if (fd < 0)
		return path_error(errp, -fd, uri->key);
	if (fstat(fd, ret_st) < 0)
		return path_error(errp, errno, uri->key);
	if (!S_ISREG(ret_st->st_mode))
		return error_set(errp, EACCES, "'%s' is no regular file",
				 uri->key);
	return steal_fd(&fd);
}

static void info_of(const struct stat *st, struct object_info *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->size = (uint64_t)st->st_size;
	snprintf(ret->validator, sizeof(ret->validator),
		 "%llx-%llx-%llx-%llx.%08lx-%llx.%08lx",
		 (unsigned long long)st->st_dev, (unsigned long long)st->st_ino,
		 (unsigned long long)st->st_size,
		 (unsigned long long)st->st_mtim.tv_sec,
		 (unsigned long)st->st_mtim.tv_nsec,
		 (unsigned long long)st->st_ctim.tv_sec,
		 (unsigned long)st->st_ctim.tv_nsec);
}

static int file_stat(struct object_store *s, const struct pointer_uri *uri,
		     struct object_info *ret, const struct op *op,
		     struct error **errp)
{
	struct stat st = {0};
	cleanup_fd int fd = open_file(s, uri, &st, errp);

	if (fd < 0)
		return fd;
	info_of(&st, ret);
	return 0;
}

static int check_validator(int fd, const char *path, const char *validator,
			   struct error **errp)
{
	struct object_info now;
	struct stat st;

	if (!*validator)
		return 0;
	if (fstat(fd, &st) < 0)
		return path_error(errp, errno, path);
	info_of(&st, &now);
	if (strcmp(now.validator, validator) != 0)
		return error_set(errp, ESTALE,
				 "file '%s' is not the one first seen", path);
	return 0;
}

static int deliver(int fd, const char *path, uint64_t off, uint64_t len,
		   struct sink *sink, const struct op *op, struct error **errp)
{
	cleanup_free char *buf = xmalloc((size_t)MIN(len, (uint64_t)PIECE) + 1);
	int r = 0;

	while (r == 0 && len > 0) {
		size_t n = (size_t)MIN(len, (uint64_t)PIECE);
		ssize_t got;

		r = op_go_on(op, errp);
		if (r < 0)
			return r;
		got = io_pread_full(fd, buf, n, off);
		if (got < 0)
			return path_error(errp, (int)-got, path);
		if ((size_t)got < n)
			return error_set(errp, EPROTO, "file '%s' ends early",
					 path);
		r = sink->write(sink, buf, n, errp);
		if (r == 0)
			op_count_in(op, n);
		off += n;
		len -= n;
	}
	return r;
}

static int file_read(struct object_store *s, const struct pointer_uri *uri,
		     const char *validator, uint64_t off, uint64_t len,
		     struct sink *sink, const struct op *op,
		     struct error **errp)
{
	struct stat st = {0};
	cleanup_fd int fd = open_file(s, uri, &st, errp);
	int r;

	if (fd < 0)
		return fd;
	r = check_validator(fd, uri->key, validator, errp);
	if (r < 0)
		return r;
	if (off > (uint64_t)st.st_size || len > (uint64_t)st.st_size - off)
		return error_set(errp, EPROTO, "file '%s' has only %llu bytes",
				 uri->key, (unsigned long long)st.st_size);
	r = deliver(fd, uri->key, off, len, sink, op, errp);
	if (r < 0)
		return r;
	return check_validator(fd, uri->key, validator, errp);
}

/* One step down; what has to be made is flushed, or a power cut takes the
 * folder and all that was put into it. */
static int enter_dir(int at, const char *name)
{
	int fd = io_open_beneath(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC,
				 0);
	cleanup_fd int parent = -1;

	if (fd != -ENOENT)
		return fd;
	if (mkdirat(at, name, 0777) < 0 && errno != EEXIST)
		return -errno;
	parent = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0)
		return -errno;
	fd = io_fsync_dir(parent);
	if (fd < 0)
		return fd;
	return io_open_beneath(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
}

/* The folder of @rest, and its last component. */
static int open_parent(int rootfd, const char *rest, bool make,
		       const char **ret_name)
{
	cleanup_fd int at =
		openat(rootfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const char *slash;

	if (at < 0)
		return -errno;
	while ((slash = strchr(rest, '/'))) {
		cleanup_free char *name =
			xstrndup(rest, (size_t)(slash - rest));
		int next = make ? enter_dir(at, name)
				: io_open_beneath(at, name,
						  O_RDONLY | O_DIRECTORY, 0);

		if (next < 0)
			return next;
		closep(&at);
		at = next;
		rest = slash + strspn(slash, "/");
	}
	if (!*rest || strcmp(rest, ".") == 0 || strcmp(rest, "..") == 0)
		return -EISDIR;
	*ret_name = rest;
	return steal_fd(&at);
}

/* 1: this very content is there; 0: nothing is; -EEXIST: another file is. */
static int look_at_target(struct object_store *s, const struct pointer_uri *uri,
			  uint64_t size, const struct digest *want,
			  struct error **errp)
{
	cleanup_error struct error *err = NULL;
	struct digest got;
	struct stat st = {0};
	cleanup_fd int fd = open_file(s, uri, &st, &err);
	int r;

	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return error_propagate(errp, &err, fd);
	if ((uint64_t)st.st_size == size) {
		r = digest_of_fd(fd, 0, size, &got, errp);
		if (r < 0)
			return r;
		if (digest_equal(&got, want))
			return 1;
	}
	return error_set(errp, EEXIST, "another file is already at '%s'",
			 uri->key);
}

static int put_into(int dirfd, const char *name, struct feed *feed,
		    const struct digest *sha256, const struct op *op,
		    struct error **errp)
{
	cleanup_staged struct staged st = STAGED_INIT;
	int r = staged_open(&st, dirfd, false, errp);

	if (r == 0)
		r = staged_fill(&st, feed, op, errp);
	if (r == 0)
		r = staged_link(&st, name, sha256, false, errp);
	if (r < 0)
		return r;
	r = io_fsync_dir(dirfd);
	if (r < 0)
		return error_set_errno(errp, -r, "cannot flush the folder");
	return 0;
}

static int file_put(struct object_store *s, const struct pointer_uri *uri,
		    struct feed *feed, const struct digest *sha256,
		    const struct op *op, struct error **errp)
{
	const char *rest = "", *name = "";
	cleanup_fd int rootfd = -1, dirfd = -1;
	int r = look_at_target(s, uri, feed->size, sha256, errp);

	if (r != 0)
		return r < 0 ? r : 0;
	rootfd = open_root(s, uri->key, &rest, errp);
	if (rootfd < 0)
		return rootfd;
	dirfd = open_parent(rootfd, rest, true, &name);
	if (dirfd < 0)
		return path_error(errp, -dirfd, uri->key);
	r = put_into(dirfd, name, feed, sha256, op, errp);
	return error_prefix(errp, r, "file '%s'", uri->key);
}

static int file_remove(struct object_store *s, const struct pointer_uri *uri,
		       const struct op *op, struct error **errp)
{
	const char *rest = "", *name = "";
	cleanup_fd int rootfd = open_root(s, uri->key, &rest, errp);
	cleanup_fd int dirfd = -1;
	struct stat st;

	if (rootfd < 0)
		return rootfd;
	dirfd = open_parent(rootfd, rest, false, &name);
	if (dirfd < 0)
		return path_error(errp, -dirfd, uri->key);
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return path_error(errp, errno, uri->key);
	if (!S_ISREG(st.st_mode))
		return error_set(errp, EACCES, "'%s' is no regular file",
				 uri->key);
	if (unlinkat(dirfd, name, 0) < 0)
		return path_error(errp, errno, uri->key);
	return 0;
}

static void file_free(struct object_store *s)
{
	strv_free(file_of(s)->roots);
	free(s);
}

static const struct object_store_ops file_ops = {
	.stat = file_stat,
	.read = file_read,
	.put = file_put,
	.remove = file_remove,
	.free = file_free,
};

struct object_store *object_store_file_new(char *const *roots)
{
	struct object_store_file *f = xcalloc(1, sizeof(*f));

	f->store.ops = &file_ops;
	for (; roots && *roots; roots++)
		strv_append(&f->roots, xstrdup(*roots));
	return &f->store;
}
