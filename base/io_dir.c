/* Directories: steps that no symlink can divert, and whole trees. */
#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/alloc.h"

static bool is_dots(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

/* Neither absolute nor with a ".." anywhere. */
static bool lexically_beneath(const char *path)
{
	if (*path == '/')
		return false;
	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");

		if (n == 2 && p[0] == '.' && p[1] == '.')
			return false;
		p += n;
		p += strspn(p, "/");
	}
	return true;
}

/*
 * The next component of *@path, on the heap, or NULL at the end. "." and
 * repeated slashes are skipped.
 */
static char *next_component(const char **path)
{
	for (;;) {
		const char *p = *path + strspn(*path, "/");
		size_t n = strcspn(p, "/");

		*path = p + n;
		if (!n)
			return NULL;
		if (n != 1 || *p != '.')
			return xstrndup(p, n);
	}
}

/* One step below @at that is no symlink, whatever else it is. */
static int open_step(int at, const char *name, int flags, mode_t mode)
{
	int fd = openat(at, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
	int code = errno;
	struct stat st;

	/* O_DIRECTORY calls a symlink no directory; O_PATH opens it. */
	if (fd < 0 && code != ENOTDIR)
		return -code;
	if (fd >= 0 && !(flags & O_PATH))
		return fd;
	if (fd >= 0 ? fstat(fd, &st)
		    : fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW))
		st.st_mode = 0;
	if (!S_ISLNK(st.st_mode))
		return fd >= 0 ? fd : -code;
	closep(&fd);
	return -ELOOP;
}

/* For kernels and sandboxes without openat2(). */
static int open_by_steps(int dirfd, const char *path, int flags, mode_t mode)
{
	bool folder = path[strlen(path) - 1] == '/';
	cleanup_free char *name = next_component(&path);
	cleanup_fd int fd = -1;
	int at = dirfd;

	if (folder)
		flags |= O_DIRECTORY;
	if (!name)
		name = xstrdup(".");
	while (name) {
		cleanup_free char *next = next_component(&path);
		int r = open_step(at, name, next ? O_PATH | O_DIRECTORY : flags,
				  mode);

		if (r < 0)
			return r;
		closep(&fd);
		at = fd = r;
		free(name);
		name = steal_ptr(&next);
	}
	return steal_fd(&fd);
}

#define TRIES 64

/* -ENOSYS: the kernel cannot do that. */
static int open_in_kernel(int dirfd, const char *path, int flags, mode_t mode,
			  unsigned more)
{
	bool creates = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE;
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC),
		.mode = creates ? mode & 07777 : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
			   RESOLVE_NO_MAGICLINKS | more,
	};
	long fd;
	int tries = 0;

	if (!*path)
		return -ENOENT;
	if (!lexically_beneath(path))
		return -EXDEV;
	do
		fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
	/* A rename meanwhile; with O_NONBLOCK also a lease, which stays. */
	while (fd < 0 &&
	       (errno == EINTR || (errno == EAGAIN && ++tries < TRIES)));
	return fd < 0 ? -errno : (int)fd;
}

int io_open_beneath(int dirfd, const char *path, int flags, mode_t mode)
{
	int r = open_in_kernel(dirfd, path, flags, mode, 0);

	if (r == -ENOSYS)
		return open_by_steps(dirfd, path, flags, mode & 07777);
	return r;
}

int io_open_same_mount(int dirfd, const char *path, int flags)
{
	cleanup_fd int fd =
		open_in_kernel(dirfd, path, flags, 0, RESOLVE_NO_XDEV);
	struct stat at, st;

	if (fd != -ENOSYS)
		return steal_fd(&fd);
	fd = open_by_steps(dirfd, path, flags, 0);
	if (fd < 0)
		return fd;
	if (fstat(dirfd, &at) < 0 || fstat(fd, &st) < 0)
		return -errno;
	return at.st_dev == st.st_dev ? steal_fd(&fd) : -EXDEV;
}

int io_mkdirs_beneath(int dirfd, const char *path, mode_t mode)
{
	cleanup_fd int fd = -1;
	int at = dirfd;

	if (!lexically_beneath(path))
		return -EXDEV;
	for (;;) {
		cleanup_free char *name = next_component(&path);
		int next;

		if (!name)
			return 0;
		if (mkdirat(at, name, mode) < 0 && errno != EEXIST)
			return -errno;
		next = openat(at, name,
			      O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return -errno;
		closep(&fd);
		at = fd = next;
	}
}

static int mkdir_or_there(const char *path, mode_t mode)
{
	struct stat st;

	if (mkdir(path, mode) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	if (stat(path, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int io_mkdirs(const char *path, mode_t mode)
{
	cleanup_free char *prefix = xstrdup(path);
	struct stat st;

	if (!*path)
		return -ENOENT;
	/* What is there already may lie in folders that we cannot write. */
	if (stat(path, &st) == 0)
		return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
	for (char *p = prefix + strspn(prefix, "/"); *p;) {
		char *end = p + strcspn(p, "/");
		char was = *end;
		int r;

		*end = '\0';
		r = mkdir_or_there(prefix, mode);
		/* EROFS and EACCES may come before EEXIST is looked at. */
		if (r < 0 && stat(prefix, &st) < 0)
			return r;
		*end = was;
		p = end + strspn(end, "/");
	}
	return stat(path, &st) < 0   ? -errno
	       : S_ISDIR(st.st_mode) ? 0
				     : -ENOTDIR;
}

static int remove_children(int dirfd);

/* Unlinks first, so that a name is never opened unless it is a directory. */
static int remove_name(int dirfd, const char *name)
{
	cleanup_fd int fd = -1;
	int r;

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	r = -errno;
	fd = openat(dirfd, name,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOTDIR ? r : -errno;
	r = remove_children(fd);
	if (r < 0)
		return r;
	if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

static int remove_children(int dirfd)
{
	cleanup_fd int fd = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
	cleanup_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (!dir)
		return -errno;
	(void)steal_fd(&fd); /* the DIR owns it */
	while (errno = 0, (de = readdir(dir))) {
		int r = is_dots(de->d_name) ? 0
					    : remove_name(dirfd, de->d_name);

		if (r < 0)
			return r;
	}
	return -errno;
}

int io_remove_tree(int dirfd, const char *path)
{
	return remove_name(dirfd, path);
}
