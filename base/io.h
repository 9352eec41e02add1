/*
 * Files: whole reads and writes, paths that cannot escape, directories.
 *
 * All return 0, a count or -errno without an error object; the caller knows
 * what it was doing and says so. All retry EINTR. Descriptors are O_CLOEXEC.
 */
#ifndef BASE_IO_H
#define BASE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Read exactly @n bytes unless the file ends: returns the count. */
ssize_t io_pread_full(int fd, void *buf, size_t n, uint64_t off);
/* The last line of what a program wrote to @fd, its first KiB; "" if nothing.
 * Heap. */
char *io_last_line(int fd);
ssize_t io_read_full(int fd, void *buf, size_t n);
int io_pwrite_full(int fd, const void *buf, size_t n, uint64_t off);
int io_write_full(int fd, const void *buf, size_t n);

/*
 * Read a whole file of at most @max bytes. *@ret is malloc()ed and has a NUL
 * after its *@ret_len bytes. Returns -EFBIG when larger, -EINVAL for pipes, sockets
 * and disks: it never waits for a writer. /dev/null is an empty file.
 */
int io_read_file(int dirfd, const char *path, size_t max, char **ret,
		 size_t *ret_len);

/*
 * Replace @path in @dirfd: write, fchmod(@mode), fsync, a temporary name in the
 * same directory (from the start where files cannot be nameless), rename, fsync
 * of the directory.
 */
#define IO_DRAFT_PREFIX ".tmp-" /* of the temporary name */
int io_write_file_atomic(int dirfd, const char *path, const void *buf, size_t n,
			 mode_t mode);
/* The same; the file of another user keeps its owner, group and mode. */
int io_rewrite_file_atomic(int dirfd, const char *path, const void *buf,
			   size_t n, mode_t mode);

/*
 * Open @path below @dirfd: no ".." and no absolute path (-EXDEV), and no
 * symlink at any step (-ELOOP; openat2 RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
 * RESOLVE_NO_MAGICLINKS).
 */
int io_open_beneath(int dirfd, const char *path, int flags, mode_t mode);
/* What is there already; nor is a mount point crossed (-EXDEV): where the kernel
 * has openat2(), whoever mounted something there is not even asked. */
int io_open_same_mount(int dirfd, const char *path, int flags);

/* mkdir -p below @dirfd; existing directories are fine, symlinks are not
 * (-ENOTDIR). The umask applies. */
int io_mkdirs_beneath(int dirfd, const char *path, mode_t mode);
/* mkdir -p of an absolute or relative path, symlinks followed. */
int io_mkdirs(const char *path, mode_t mode);

/* Remove a file or a whole directory tree; never follows a symlink; a missing
 * @path is success. */
int io_remove_tree(int dirfd, const char *path);

/* fsync the directory that holds @path / the directory @dirfd. */
int io_fsync_dir(int dirfd);

/* Try FICLONE of the whole file; -EOPNOTSUPP, -EXDEV or -EINVAL: can't. */
int io_reflink(int from_fd, int to_fd);
#endif
