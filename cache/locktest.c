#include "cache/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/log.h"

#ifndef LUSTRE_SUPER_MAGIC
#define LUSTRE_SUPER_MAGIC 0x0BD00BD0
#endif
#ifndef GPFS_SUPER_MAGIC
#define GPFS_SUPER_MAGIC 0x47504653
#endif
#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif
#ifndef CIFS_SUPER_MAGIC
#define CIFS_SUPER_MAGIC 0xFF534D42
#endif
#ifndef SMB2_SUPER_MAGIC
#define SMB2_SUPER_MAGIC 0xFE534D42
#endif

/* File systems whose locks are known to be granted to everyone under some
 * mount options, or to vanish with a server. */
static bool locks_are_remote(int dirfd)
{
	struct statfs fs;

	if (fstatfs(dirfd, &fs) < 0)
		return true;
	switch ((uint32_t)fs.f_type) {
	case NFS_SUPER_MAGIC:
	case LUSTRE_SUPER_MAGIC:
	case GPFS_SUPER_MAGIC:
	case CIFS_SUPER_MAGIC:
	case SMB2_SUPER_MAGIC:
	case SMB_SUPER_MAGIC:
	case FUSE_SUPER_MAGIC:
	case V9FS_MAGIC:
	case AFS_SUPER_MAGIC:
	case CEPH_SUPER_MAGIC:
		return true;
	default:
		return false;
	}
}

static bool ofd_excludes(int a, int b)
{
	return ofd_try_lock(a, LOCK_EXCLUSIVE, 0, 1) == 0 &&
	       ofd_try_lock(b, LOCK_EXCLUSIVE, 0, 1) == -EAGAIN;
}

static bool flock_excludes(int a, int b)
{
	return flock(a, LOCK_EX | LOCK_NB) == 0 &&
	       flock(b, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

bool locks_trustworthy(int dirfd)
{
	char name[RANDOM_NAME_SIZE];
	cleanup_fd int a = -1;
	cleanup_fd int b = -1;

	if (locks_are_remote(dirfd)) {
		log_debug("cache: locks of this file system are not trusted");
		return false;
	}
	random_name(name);
	a = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (a < 0)
		return false;
	b = openat(dirfd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	unlinkat(dirfd, name, 0);
	if (b < 0 || !ofd_excludes(a, b) || !flock_excludes(a, b)) {
		log_debug("cache: locks here exclude nobody, not trusted");
		return false;
	}
	return true;
}
