/*
 * Preloaded, it makes the kernel's INIT request look like that of Linux 6.7:
 * no RESEND, no passthrough; has no mount be known by an id of its own; and hides what /proc says of a descriptor, which
 * names a device's mount since 6.16. The rest of FUSE is what this kernel does.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define FLAG2_PASSTHROUGH (1u << (37 - 32))
#define FLAG2_RESEND      (1u << (39 - 32))
#define MNT_ID_UNIQUE     0x4000u

struct init {
	struct fuse_in_header head;
	uint32_t major, minor, max_readahead, flags, flags2;
};

ssize_t read(int fd, void *buf, size_t n)
{
	ssize_t r = syscall(SYS_read, fd, buf, n);
	struct init in;

	if (r < (ssize_t)sizeof(in))
		return r;
	memcpy(&in, buf, sizeof(in));
	if (in.head.opcode != FUSE_INIT || in.head.len != r || in.major != 7)
		return r;
	in.flags2 &= ~(FLAG2_PASSTHROUGH | FLAG2_RESEND);
	memcpy(buf, &in, sizeof(in));
	return r;
}

int statx(int dirfd, const char *restrict path, int flags, unsigned mask,
	  struct statx *restrict buf)
{
	return (int)syscall(SYS_statx, dirfd, path, flags,
			    mask & ~MNT_ID_UNIQUE, buf);
}

int openat(int dirfd, const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	if (strstr(path, "/fdinfo/")) {
		errno = ENOENT;
		return -1;
	}
	va_start(ap, flags);
	if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE)
		mode = va_arg(ap, mode_t);
	va_end(ap);
	return (int)syscall(SYS_openat, dirfd, path, flags, mode);
}
