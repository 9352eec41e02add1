#include "fs/received.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/alloc.h"
#include "base/io.h"
#include "fs/mountinfo.h"

#define PREFIX      "/dev/fd/"
#define FDINFO_MAX  4096u
#define DEVICE_MAX  ((1ul << 32) - 1)
#define MINOR_BITS  20 /* of a device number inside the kernel */
#define FUSE_DEVICE makedev(10, 229)

/* Digits alone: what else could be meant by "/dev/fd/03" or "+3"? */
static bool read_number(const char *text, unsigned long max, unsigned long *ret)
{
	char *end;

	if (*text < '0' || *text > '9' || (*text == '0' && text[1] >= '0'))
		return false;
	errno = 0;
	*ret = strtoul(text, &end, 10);
	return !errno && *ret <= max && (!*end || *end == '\n');
}

int received_number(const char *path)
{
	unsigned long n;

	if (strncmp(path, PREFIX, strlen(PREFIX)) != 0 || strchr(path, '\n') ||
	    !read_number(path + strlen(PREFIX), INT_MAX, &n))
		return -1;
	return (int)n;
}

/* Who has nothing to do is to sleep, whatever the giver did with it. */
static int wait_for_requests(int fd, struct error **errp)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0 && (!(flags & O_NONBLOCK) ||
			   fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == 0))
		return 0;
	return error_set_errno(errp, errno, "'" PREFIX "%d'", fd);
}

int received_check(int fd, struct error **errp)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		r = error_set_errno(errp, errno, "'" PREFIX "%d'", fd);
	else if (!S_ISCHR(st.st_mode) || st.st_rdev != FUSE_DEVICE)
		r = error_set(errp, EINVAL, "'" PREFIX "%d' is not /dev/fuse",
			      fd);
	else if (poll(&p, 1, 0) < 0 || p.revents & (POLLERR | POLLNVAL))
		r = error_set(errp, EINVAL,
			      "nothing is mounted by '" PREFIX "%d'", fd);
	else
		return wait_for_requests(fd, errp);
	return error_kind(errp, r, ERROR_VALIDATION);
}

bool received_parse_fdinfo(const char *text, unsigned *ret_major,
			   unsigned *ret_minor)
{
	static const char key[] = "\nfuse_connection:\t";
	const char *p = strstr(text, key);
	unsigned long n;

	if (!p || !read_number(p + strlen(key), DEVICE_MAX, &n) || !n)
		return false;
	*ret_major = (unsigned)(n >> MINOR_BITS);
	*ret_minor = (unsigned)(n & ((1u << MINOR_BITS) - 1));
	return true;
}

bool received_superblock(int fd, unsigned *ret_major, unsigned *ret_minor)
{
	cleanup_free char *path = xasprintf("/proc/self/fdinfo/%d", fd);
	cleanup_free char *text = NULL;
	size_t n;

	return io_read_file(AT_FDCWD, path, FDINFO_MAX, &text, &n) == 0 &&
	       received_parse_fdinfo(text, ret_major, ret_minor);
}

char *received_folder(int fd)
{
	cleanup_mount_list struct mount_list mounts = {0};
	unsigned major, minor;

	if (!received_superblock(fd, &major, &minor) ||
	    mount_list_read(&mounts) < 0)
		return NULL;
	for (size_t i = 0; i < mounts.n; i++) {
		const struct mount_entry *e = &mounts.e[i];

		if (e->major == major && e->minor == minor &&
		    mount_list_top(&mounts, e->dir) == e)
			return xstrdup(e->dir);
	}
	return NULL;
}
