#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/random.h"

/* What one system call may be asked to move. */
#define IO_STEP ((size_t)1 << 30)

ssize_t io_pread_full(int fd, void *buf, size_t n, uint64_t off)
{
	char *p = buf;
	size_t done = 0;

	if (n > SSIZE_MAX || off > INT64_MAX - n)
		return -EOVERFLOW;
	while (done < n) {
		ssize_t r = pread(fd, p + done, MIN(n - done, IO_STEP),
				  (off_t)(off + done));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

char *io_last_line(int fd)
{
	char buf[1024];
	ssize_t n = io_pread_full(fd, buf, sizeof(buf) - 1, 0);
	char *line;

	buf[MAX(n, 0)] = '\0';
	for (n = (ssize_t)strlen(buf); n > 0 && buf[n - 1] == '\n'; n--)
		buf[n - 1] = '\0';
	line = strrchr(buf, '\n');
	return xstrdup(line ? line + 1 : buf);
}

ssize_t io_read_full(int fd, void *buf, size_t n)
{
	char *p = buf;
	size_t done = 0;

	if (n > SSIZE_MAX)
		return -EOVERFLOW;
	while (done < n) {
		ssize_t r = read(fd, p + done, MIN(n - done, IO_STEP));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

int io_pwrite_full(int fd, const void *buf, size_t n, uint64_t off)
{
	const char *p = buf;

	if (n > SSIZE_MAX || off > INT64_MAX - n)
		return -EOVERFLOW;
	while (n) {
		ssize_t r = pwrite(fd, p, MIN(n, IO_STEP), (off_t)off);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : -EIO;
		p += r;
		off += (uint64_t)r;
		n -= (size_t)r;
	}
	return 0;
}

int io_write_full(int fd, const void *buf, size_t n)
{
	const char *p = buf;

	while (n) {
		ssize_t r = write(fd, p, MIN(n, IO_STEP));

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : -EIO;
		p += r;
		n -= (size_t)r;
	}
	return 0;
}

/*
 * Grows by what was read, not by what stat says: the files of /proc say
 * nothing, and a file may change under us.
 */
static int read_fd(int fd, const struct stat *st, size_t max, char **ret,
		   size_t *ret_len)
{
	cleanup_free char *buf = NULL;
	size_t len = 0, cap = 0;

	if (S_ISREG(st->st_mode) && st->st_size > 0)
		cap = MIN((uint64_t)st->st_size, max);
	for (;;) {
		ssize_t r;
		char *p;

		if (len == cap)
			cap = MIN(MAX(cap * 2, (size_t)4096), max);
		p = try_realloc(buf, cap + 1,
				1); /* the NUL, or the byte too many */
		if (!p)
			return -ENOMEM;
		buf = p;
		r = io_read_full(fd, buf + len, cap + 1 - len);
		if (r < 0)
			return (int)r;
		len += (size_t)r;
		if (len <= cap)
			break; /* it ended before the buffer did */
		if (cap == max)
			return -EFBIG;
		cap = len;
	}
	buf[len] = '\0';
	*ret = steal_ptr(&buf);
	*ret_len = len;
	return 0;
}

int io_read_file(int dirfd, const char *path, size_t max, char **ret,
		 size_t *ret_len)
{
	/* Waiting for a pipe's writer would be without end. */
	cleanup_fd int fd = openat(
		dirfd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))
		return -EINVAL;
	if (max >= SSIZE_MAX)
		return -EOVERFLOW;
	return read_fd(fd, &st, max, ret, ret_len);
}

/* What a file is to be. */
struct draft {
	const void *buf;
	size_t n;
	mode_t mode;
	uid_t uid; /* -1: who writes it */
	gid_t gid;
};

#define TMP_SIZE sizeof(IO_DRAFT_PREFIX "0123456789abcdef")

static void random_tmp(char tmp[TMP_SIZE])
{
	snprintf(tmp, TMP_SIZE, IO_DRAFT_PREFIX "%016llx",
		 (unsigned long long)random_below(UINT64_MAX));
}

static int write_draft(int fd, const struct draft *d)
{
	int r = io_write_full(fd, d->buf, d->n);

	if (r == 0 && d->uid != (uid_t)-1 && fchown(fd, d->uid, d->gid) < 0)
		r = -errno;
	if (r == 0 && fchmod(fd, d->mode) < 0)
		r = -errno;
	/* Once: after a failed fsync the pages count as clean. */
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	return r;
}

/* A process that is killed before the file is whole leaves nothing behind.
 * -EOPNOTSUPP: the file system, or a sandbox, does not let us. */
static int write_nameless(int dirfd, char tmp[TMP_SIZE], const struct draft *d)
{
	cleanup_fd int fd =
		openat(dirfd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	char self[32];
	int r = fd < 0 ? -EOPNOTSUPP : write_draft(fd, d);

	if (r < 0)
		return r;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	do {
		random_tmp(tmp);
		r = linkat(AT_FDCWD, self, dirfd, tmp, AT_SYMLINK_FOLLOW);
	} while (r < 0 && errno == EEXIST);
	if (r < 0)
		return -EOPNOTSUPP;
	/* btrfs writes nothing down of a file that has no name. */
	if (fsync(fd) < 0) {
		r = -errno;
		unlinkat(dirfd, tmp, 0);
	}
	return r;
}

static int write_named(int dirfd, char tmp[TMP_SIZE], const struct draft *d)
{
	cleanup_fd int fd = -1;
	int r;

	do {
		random_tmp(tmp);
		fd = openat(dirfd, tmp,
			    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW |
				    O_CLOEXEC,
			    0600);
	} while (fd < 0 && errno == EEXIST);
	if (fd < 0)
		return -errno;
	r = write_draft(fd, d);
	if (r == 0 && close(steal_fd(&fd)) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(dirfd, tmp, 0);
	return r;
}

static int replace_in_dir(int dirfd, const char *name, const struct draft *d)
{
	char tmp[TMP_SIZE];
	int r = write_nameless(dirfd, tmp, d);

	if (r == -EOPNOTSUPP)
		r = write_named(dirfd, tmp, d);
	if (r < 0)
		return r;
	if (renameat(dirfd, tmp, dirfd, name) < 0) {
		r = -errno;
		unlinkat(dirfd, tmp, 0);
		return r;
	}
	return io_fsync_dir(dirfd);
}

static int replace_path(int dirfd, const char *path, const struct draft *d)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	cleanup_free char *dir = NULL;
	cleanup_fd int fd = -1;

	if (!slash)
		dir = xstrdup(".");
	else
		dir = xstrndup(path, MAX(slash - path, 1));
	if (!*name)
		return -EISDIR;
	fd = openat(dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return replace_in_dir(fd, name, d);
}

int io_write_file_atomic(int dirfd, const char *path, const void *buf, size_t n,
			 mode_t mode)
{
	const struct draft d = {buf, n, mode, (uid_t)-1, (gid_t)-1};

	return replace_path(dirfd, path, &d);
}

int io_rewrite_file_atomic(int dirfd, const char *path, const void *buf,
			   size_t n, mode_t mode)
{
	struct draft d = {buf, n, mode, (uid_t)-1, (gid_t)-1};
	struct stat st;

	if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_uid != geteuid()) {
		d.mode = st.st_mode & 0777;
		d.uid = st.st_uid;
		d.gid = st.st_gid;
	}
	return replace_path(dirfd, path, &d);
}

int io_fsync_dir(int dirfd)
{
	/* AT_FDCWD and O_PATH descriptors cannot be fsynced themselves. */
	cleanup_fd int fd =
		openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

int io_reflink(int from_fd, int to_fd)
{
	if (ioctl(to_fd, FICLONE, from_fd) == 0)
		return 0;
	return errno == ENOTTY || errno == ENOSYS ? -EOPNOTSUPP : -errno;
}
