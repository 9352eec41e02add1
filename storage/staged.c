#include "storage/staged.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/random.h"

#define PIECE ((size_t)1 << 20)
#define TRIES 100

static int open_unnamed(int dirfd)
{
	int fd = openat(dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);

	return fd < 0 ? -errno : fd;
}

/* A temporary name that nobody holds the lock of belongs to a dead process. */
static void remove_if_dead(int dirfd, const char *name)
{
	cleanup_fd int fd = openat(
		dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
		unlinkat(dirfd, name, 0);
}

static void sweep(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *dir = NULL;
	struct dirent *e;

	if (fd < 0)
		return;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return;
	}
	while ((e = readdir(dir)))
		if (strncmp(e->d_name, STAGED_PREFIX, strlen(STAGED_PREFIX)) ==
		    0)
			remove_if_dead(dirfd, e->d_name);
}

/* A sweep may come between open and flock: then the name is gone again. */
static int lock_named(int fd)
{
	struct stat st;

	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	return st.st_nlink > 0 ? 0 : -EWOULDBLOCK;
}

static int open_named(int dirfd, char **ret_name)
{
	int i;

	for (i = 0; i < TRIES; i++) {
		cleanup_free char *name =
			xasprintf(STAGED_PREFIX "%d-%llx", (int)getpid(),
				  (unsigned long long)random_below(UINT64_MAX));
		cleanup_fd int fd = openat(dirfd, name,
					   O_RDWR | O_CREAT | O_EXCL |
						   O_NOFOLLOW | O_CLOEXEC,
					   0666);
		int r;

		if (fd < 0 && errno == EEXIST)
			continue;
		if (fd < 0)
			return -errno;
		r = lock_named(fd);
		if (r == -EWOULDBLOCK)
			continue;
		/* Without locks there is no sweep either: go on. */
		*ret_name = steal_ptr(&name);
		return steal_fd(&fd);
	}
	return -EBUSY;
}

int staged_open(struct staged *s, int dirfd, bool named, struct error **errp)
{
	int fd = named ? -EOPNOTSUPP : open_unnamed(dirfd);

	/* What kernels answer where there is no O_TMPFILE. */
	if (fd == -EOPNOTSUPP || fd == -EISDIR || fd == -ENOENT ||
	    fd == -EINVAL) {
		sweep(dirfd);
		fd = open_named(dirfd, &s->temp);
	}
	if (fd < 0)
		return error_set_errno(errp, -fd,
				       "cannot create a temporary file");
	s->dirfd = dirfd;
	s->fd = fd;
	s->hasher = hasher_new();
	return 0;
}

static int append(struct staged *s, const void *buf, size_t n,
		  struct error **errp)
{
	int r = io_pwrite_full(s->fd, buf, n, s->size);

	if (r < 0)
		return error_set_errno(errp, -r, "cannot write");
	hasher_update(s->hasher, buf, n);
	s->size += n;
	return 0;
}

/* A full disk shows before the first byte is moved. */
static int reserve(struct staged *s, uint64_t size, struct error **errp)
{
	if (size == 0 || fallocate(s->fd, 0, 0, (off_t)size) == 0 ||
	    (errno != ENOSPC && errno != EDQUOT && errno != EFBIG))
		return 0;
	return error_set_errno(errp, errno, "cannot reserve %llu bytes",
			       (unsigned long long)size);
}

int staged_fill(struct staged *s, struct feed *feed, const struct op *op,
		struct error **errp)
{
	size_t piece = (size_t)MIN((uint64_t)PIECE, feed->size);
	cleanup_free char *buf = xmalloc(piece + 1);
	uint64_t off;
	int r;

	r = reserve(s, feed->size, errp);
	for (off = 0; r == 0 && off < feed->size; off += piece) {
		piece = (size_t)MIN((uint64_t)PIECE, feed->size - off);
		r = op_go_on(op, errp);
		if (r == 0)
			r = feed->pread(feed, buf, piece, off, errp);
		if (r == 0)
			r = append(s, buf, piece, errp);
		if (r == 0)
			op_count_out(op, piece);
	}
	return r;
}

static int link_as(struct staged *s, const char *name)
{
	char self[64];

	if (s->temp)
		return linkat(s->dirfd, s->temp, s->dirfd, name, 0) < 0 ? -errno
									: 0;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", s->fd);
	return linkat(AT_FDCWD, self, s->dirfd, name, AT_SYMLINK_FOLLOW) < 0
		       ? -errno
		       : 0;
}

/* Is @name a regular file with the very content that was staged? */
static bool same_content(struct staged *s, const char *name,
			 const struct digest *want)
{
	cleanup_fd int fd = openat(
		s->dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct digest got;
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       (uint64_t)st.st_size == s->size &&
	       digest_of_fd(fd, 0, s->size, &got, NULL) == 0 &&
	       digest_equal(&got, want);
}

/* Give the file a temporary name that rename() can take from. */
static int name_temporarily(struct staged *s)
{
	int i;

	for (i = 0; i < TRIES && !s->temp; i++) {
		cleanup_free char *name =
			xasprintf(STAGED_PREFIX "%d-%llx", (int)getpid(),
				  (unsigned long long)random_below(UINT64_MAX));
		int r = link_as(s, name);

		if (r < 0 && r != -EEXIST)
			return r;
		if (r == 0)
			s->temp = steal_ptr(&name);
	}
	return s->temp ? 0 : -EBUSY;
}

static int rename_over(struct staged *s, const char *name)
{
	int r = name_temporarily(s);

	if (r < 0)
		return r;
	if (renameat(s->dirfd, s->temp, s->dirfd, name) < 0)
		return -errno;
	free(steal_ptr(&s->temp));
	return 0;
}

/* The final step when link() is not there, or when the name is taken. */
static int give_name(struct staged *s, const char *name,
		     const struct digest *want, bool replace)
{
	int r = link_as(s, name);

	if (r == -EEXIST) {
		if (same_content(s, name, want))
			return 0;
		return replace ? rename_over(s, name) : -EEXIST;
	}
	if (!s->temp || (r != -EPERM && r != -EOPNOTSUPP && r != -EMLINK))
		return r;
	/* A file system without links: content-addressed names may be
	 * replaced by their equals, others must not be. */
	if (!replace &&
	    faccessat(s->dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return same_content(s, name, want) ? 0 : -EEXIST;
	return rename_over(s, name);
}

int staged_link(struct staged *s, const char *name, const struct digest *want,
		bool replace, struct error **errp)
{
	struct digest got = hasher_final(s->hasher);
	int r;

	if (!digest_equal(&got, want))
		return error_set(errp, EBADMSG, "content is '%s', not '%s'",
				 digest_to_str(&got).str,
				 digest_to_str(want).str);
	/* After a failed fsync nothing is known about the pages: never again. */
	if (fsync(s->fd) < 0)
		return error_set_errno(errp, errno, "cannot flush");
	r = give_name(s, name, want, replace);
	if (r == -EEXIST)
		return error_set(errp, EEXIST, "another file is already there");
	if (r < 0)
		return error_set_errno(errp, -r, "cannot link");
	return 0;
}

void staged_release(struct staged *s)
{
	if (s->temp)
		unlinkat(s->dirfd, s->temp, 0);
	free(steal_ptr(&s->temp));
	hasher_free(s->hasher);
	s->hasher = NULL;
	closep(&s->fd);
}
