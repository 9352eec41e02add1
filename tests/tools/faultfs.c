/*
 * A file system that fails: what is below a folder, shown elsewhere, with
 * faults.
 *
 *	FAULTFS=KIND:N:SEED faultfs BACKING AT
 *
 * About every Nth call of that kind goes wrong; how many did is said on standard
 * error after the unmount.
 *
 *	torn     a write keeps its first half and says EIO
 *	full     a write keeps nothing and says ENOSPC
 *	wrong    a read has one bit that is not so
 *	short    a read says EIO
 *	stale    any look at a name says ESTALE
 *	exists   a link() is made, and says EEXIST, as over NFS after a lost reply
 *	unsynced an fsync() says EIO, and half of what was written is lost
 *	locks    nothing more than under any other kind: locks are granted to
 *	         everyone, always; this counts those that somebody else had
 */
#define FUSE_USE_VERSION 314

#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <dirent.h>
#include <unistd.h>

static int top;
static char kind[16];
static unsigned long every;
static atomic_ulong calls, faults;
static unsigned long seed;

/* Does this call, of @what, go wrong? */
static bool fails(const char *what)
{
	unsigned long n;

	if (strcmp(kind, what) != 0)
		return false;
	n = (atomic_fetch_add(&calls, 1) + 1) * 0x9E3779B97F4A7C15ul + seed;
	if ((n >> 33) % every != 0)
		return false;
	atomic_fetch_add(&faults, 1);
	return true;
}

static const char *below(const char *path)
{
	return path[1] ? path + 1 : ".";
}

static int result(int r)
{
	return r < 0 ? -errno : 0;
}

static int op_getattr(const char *path, struct stat *st,
		      struct fuse_file_info *fi)
{
	if (fi)
		return result(fstat((int)fi->fh, st));
	if (path[1] && fails("stale"))
		return -ESTALE;
	return result(fstatat(top, below(path), st, AT_SYMLINK_NOFOLLOW));
}

static int op_readlink(const char *path, char *buf, size_t size)
{
	ssize_t n = readlinkat(top, below(path), buf, size - 1);

	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return 0;
}

static int op_mkdir(const char *path, mode_t mode)
{
	return result(mkdirat(top, below(path), mode));
}

static int op_unlink(const char *path)
{
	return result(unlinkat(top, below(path), 0));
}

static int op_rmdir(const char *path)
{
	return result(unlinkat(top, below(path), AT_REMOVEDIR));
}

static int op_symlink(const char *target, const char *path)
{
	return result(symlinkat(target, top, below(path)));
}

static int op_rename(const char *from, const char *to, unsigned int flags)
{
	return result(renameat2(top, below(from), top, below(to), flags));
}

static int op_link(const char *from, const char *to)
{
	int r = result(linkat(top, below(from), top, below(to), 0));

	return r == 0 && fails("exists") ? -EEXIST : r;
}

static int op_chmod(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	if (fi)
		return result(fchmod((int)fi->fh, mode));
	return result(fchmodat(top, below(path), mode, 0));
}

static int op_chown(const char *path, uid_t uid, gid_t gid,
		    struct fuse_file_info *fi)
{
	(void)fi;
	return result(
		fchownat(top, below(path), uid, gid, AT_SYMLINK_NOFOLLOW));
}

static int op_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
	int fd, r;

	if (fi)
		return result(ftruncate((int)fi->fh, size));
	fd = openat(top, below(path), O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = result(ftruncate(fd, size));
	close(fd);
	return r;
}

static int op_utimens(const char *path, const struct timespec ts[2],
		      struct fuse_file_info *fi)
{
	if (fi)
		return result(futimens((int)fi->fh, ts));
	return result(utimensat(top, below(path), ts, AT_SYMLINK_NOFOLLOW));
}

static int open_it(const char *path, int flags, mode_t mode,
		   struct fuse_file_info *fi)
{
	/* Readable: a fault may have to read what it spoils. */
	int fd = openat(top, below(path),
			(flags & ~(O_ACCMODE | O_APPEND)) | O_CLOEXEC |
				((flags & O_ACCMODE) == O_RDONLY ? O_RDONLY
								 : O_RDWR),
			mode);

	if (fd < 0)
		return -errno;
	fi->fh = (uint64_t)fd;
	fi->direct_io = 1; /* each read asks us */
	return 0;
}

static int op_open(const char *path, struct fuse_file_info *fi)
{
	return open_it(path, fi->flags, 0, fi);
}

static int op_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	return open_it(path, fi->flags | O_CREAT, mode, fi);
}

static int op_read(const char *path, char *buf, size_t size, off_t off,
		   struct fuse_file_info *fi)
{
	ssize_t n = pread((int)fi->fh, buf, size, off);

	(void)path;
	if (n < 0)
		return -errno;
	if (fails("short"))
		return -EIO;
	if (n > 0 && fails("wrong"))
		buf[n / 2] ^= 0x10;
	return (int)n;
}

static int op_write(const char *path, const char *buf, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	ssize_t n;

	(void)path;
	if (fails("full"))
		return -ENOSPC;
	if (fails("torn")) {
		n = pwrite((int)fi->fh, buf, size / 2, off);
		return n < 0 ? -errno : -EIO;
	}
	n = pwrite((int)fi->fh, buf, size, off);
	return n < 0 ? -errno : (int)n;
}

/* The second half is gone, and the next fsync() says that all is well. */
static int op_fsync(const char *path, int data, struct fuse_file_info *fi)
{
	static const char zeros[512];
	struct stat st;

	(void)path;
	(void)data;
	if (!fails("unsynced"))
		return 0;
	if (fstat((int)fi->fh, &st) == 0)
		for (off_t at = st.st_size / 2; at < st.st_size; at += 512)
			if (pwrite((int)fi->fh, zeros,
				   (size_t)(st.st_size - at < 512
						    ? st.st_size - at
						    : 512),
				   at) < 0)
				break;
	return -EIO;
}

static int op_fsyncdir(const char *path, int data, struct fuse_file_info *fi)
{
	(void)path;
	(void)data;
	(void)fi;
	return 0;
}

static int op_release(const char *path, struct fuse_file_info *fi)
{
	(void)path;
	close((int)fi->fh);
	return 0;
}

static int op_statfs(const char *path, struct statvfs *fs)
{
	(void)path;
	return result(fstatvfs(top, fs));
}

static int op_readdir(const char *path, void *buf, fuse_fill_dir_t fill,
		      off_t off, struct fuse_file_info *fi,
		      enum fuse_readdir_flags flags)
{
	int fd = openat(top, below(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	(void)off;
	(void)fi;
	(void)flags;
	if (!d)
		return -errno;
	while ((e = readdir(d)))
		if (fill(buf, e->d_name, NULL, 0, 0))
			break;
	closedir(d);
	return 0;
}

/* The lock of the file below tells whether it was free. */
static int grant(bool was_free)
{
	if (!was_free)
		(void)fails("locks");
	return 0;
}

static int op_lock(const char *path, struct fuse_file_info *fi, int cmd,
		   struct flock *lock)
{
	struct flock real = *lock;

	(void)path;
	if (cmd == F_GETLK) {
		lock->l_type = F_UNLCK;
		return 0;
	}
	real.l_pid = 0;
	return grant(fcntl((int)fi->fh, F_OFD_SETLK, &real) == 0 ||
		     errno != EAGAIN);
}

static int op_flock(const char *path, struct fuse_file_info *fi, int op)
{
	(void)path;
	return grant(flock((int)fi->fh, op | LOCK_NB) == 0 || errno != EAGAIN);
}

static void *op_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
	(void)conn;
	cfg->use_ino = 1;
	cfg->hard_remove = 1;
	cfg->attr_timeout = cfg->entry_timeout = cfg->negative_timeout = 0;
	return NULL;
}

static const struct fuse_operations ops = {
	.init = op_init,
	.getattr = op_getattr,
	.readlink = op_readlink,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.chmod = op_chmod,
	.chown = op_chown,
	.truncate = op_truncate,
	.utimens = op_utimens,
	.open = op_open,
	.create = op_create,
	.read = op_read,
	.write = op_write,
	.fsync = op_fsync,
	.fsyncdir = op_fsyncdir,
	.release = op_release,
	.statfs = op_statfs,
	.readdir = op_readdir,
	.lock = op_lock,
	.flock = op_flock,
};

int main(int argc, char **argv)
{
	const char *spec = getenv("FAULTFS");
	char foreground[] = "-f";
	char *args[] = {argv[0], foreground, argc > 2 ? argv[2] : NULL, NULL};
	int r;

	if (argc != 3 || !spec ||
	    sscanf(spec, "%15[a-z]:%lu:%lu", kind, &every, &seed) != 3 ||
	    !every) {
		fprintf(stderr, "usage: FAULTFS=KIND:EVERY:SEED faultfs "
				"BACKING AT\n");
		return 2;
	}
	top = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (top < 0) {
		perror(argv[1]);
		return 1;
	}
	umask(0);
	r = fuse_main(3, args, &ops, NULL);
	fprintf(stderr, "%lu faults\n", atomic_load(&faults));
	return r;
}
