#include "cache/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/io.h"
#include "base/time.h"

/* Is @fd the file of that name? */
static bool names_file(int dirfd, const char *name, int fd)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 &&
	       fstatat(dirfd, name, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
	       a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

static int own_open(struct cache *c, const struct digest *d, uint64_t size,
		    struct stat *ret_st)
{
	struct shard_name name = shard_name(d);
	cleanup_fd int fd =
		openat(c->room[ROOM_BLOBS], name.str,
		       O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	/* A symlink, a socket or a device, which we did not make. */
	if (fd < 0 && (errno == ELOOP || errno == ENXIO || errno == ENODEV)) {
		quarantine(c, ROOM_BLOBS, name.str, -1);
		return -ENOENT;
	}
	if (fd < 0)
		return -errno;
	if (fstat(fd, ret_st) < 0)
		return -errno;
	if (!S_ISREG(ret_st->st_mode) || (uint64_t)ret_st->st_size != size) {
		quarantine(c, ROOM_BLOBS, name.str, fd);
		return -ENOENT;
	}
	return steal_fd(&fd);
}

int blob_open_raw(struct cache *c, const struct digest *d, uint64_t size,
		  struct stat *ret_st)
{
	int fd = own_open(c, d, size, ret_st);

	return fd == -ENOENT ? alternates_open(c, d, size, ret_st) : fd;
}

bool blob_is_ours(const struct cache *c, const struct digest *d, int fd)
{
	return !c->n_alternates ||
	       names_file(c->room[ROOM_BLOBS], shard_name(d).str, fd);
}

void blob_condemn(struct cache *c, const struct digest *d, int fd)
{
	statindex_forget(c, d);
	if (blob_is_ours(c, d, fd))
		quarantine(c, ROOM_BLOBS, shard_name(d).str, fd);
	else
		alternates_distrust(c, d);
}

int blob_open_named(struct cache *c, const struct digest *d, uint64_t size,
		    struct stat *ret_st)
{
	int fd = blob_open_raw(c, d, size, ret_st);

	if (fd == -ENOENT && batch_has(c, d)) {
		(void)batch_flush(c);
		fd = blob_open_raw(c, d, size, ret_st);
	}
	if (fd >= 0)
		statindex_touch(c, d);
	return fd;
}

int blob_rehash(struct cache *c, const struct digest *d, int fd, uint64_t size)
{
	int64_t at_ns = time_wall_ns();
	struct stat before, after;
	struct digest got;
	int r;

	if (fstat(fd, &before) < 0)
		return -errno;
	r = hash_file(fd, size, NULL, NULL, &got);
	if (r < 0 && r != -EIO && blob_is_ours(c, d, fd))
		return r;
	if (r < 0 || !digest_equal(&got, d)) {
		blob_condemn(c, d, fd);
		return -ENOENT;
	}
	if (fstat(fd, &after) == 0 && stat_same(&before, &after))
		statindex_put(c, d, &after, at_ns);
	return 0;
}

int cache_blob_open(struct cache *c, const struct digest *d, uint64_t size,
		    struct error **errp)
{
	struct stat st;
	cleanup_fd int fd = blob_open_named(c, d, size, &st);
	int r = fd < 0 ? fd : 0;

	if (r == 0 && !statindex_matches(c, d, &st))
		r = blob_rehash(c, d, fd, size);
	if (r == -ENOENT)
		return error_set(errp, ENOENT, "blob '%s' is not in the cache",
				 digest_to_hex(d).str);
	if (r < 0)
		return error_set_errno(errp, -r, "cannot read blob '%s'",
				       digest_to_hex(d).str);
	return steal_fd(&fd);
}

bool blob_has_name(struct cache *c, const struct digest *d, uint64_t size)
{
	struct shard_name name = shard_name(d);
	struct stat st;

	return fstatat(c->room[ROOM_BLOBS], name.str, &st,
		       AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(st.st_mode) && (uint64_t)st.st_size == size;
}

bool cache_blob_exists(struct cache *c, const struct digest *d, uint64_t size)
{
	return blob_has_name(c, d, size) || batch_has(c, d);
}

/* Nobody reaches it by another name, and nobody has touched it. */
static bool is_passable(struct cache *c, const struct digest *d,
			const struct stat *st)
{
	return st->st_nlink == 1 && !(st->st_mode & 0222) &&
	       statindex_matches(c, d, st);
}

int cache_blob_open_passthrough(struct cache *c, const struct digest *d,
				uint64_t size)
{
	struct stat st;
	cleanup_fd int fd = -1;

	if (!c->locks_trusted)
		return -EAGAIN;
	fd = blob_open_raw(c, d, size, &st);
	if (fd < 0)
		return -EAGAIN;
	/* First the lock, then the look: from here on nobody links it out. */
	if (flock(fd, LOCK_SH | LOCK_NB) < 0 || fstat(fd, &st) < 0 ||
	    !is_passable(c, d, &st))
		return -EAGAIN;
	return steal_fd(&fd);
}

bool cache_blob_still_passable(struct cache *c, const struct digest *d, int fd)
{
	struct shard_name name = shard_name(d);
	struct stat st;

	return fstat(fd, &st) == 0 && is_passable(c, d, &st) &&
	       names_file(c->room[ROOM_BLOBS], name.str, fd);
}

/*
 * The commit.
 */

int link_fd(int fd, int dirfd, const char *name)
{
	char self[32];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, self, dirfd, name, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	if (errno != ENOENT && errno != EXDEV && errno != ENOTDIR)
		return -errno;
	/* Without /proc: allowed to root, and to anyone on newer kernels. */
	if (linkat(fd, "", dirfd, name, AT_EMPTY_PATH) == 0)
		return 0;
	return -errno;
}

/*
 * For file systems without links: by name, and checked before and after that
 * it is our file.
 */
static int rename_to_final(struct cache *c, int fd, enum cache_room room,
			   const char *name, const char *final)
{
	int to = c->room[ROOM_BLOBS];
	int r;

	if (!names_file(c->room[room], name, fd))
		return -ENOENT;
	r = rename_new(c->room[room], name, to, final);
	if (r < 0)
		return r;
	if (names_file(to, final, fd))
		return 0;
	unlinkat(to, final, 0);
	return -ESTALE;
}

static int take_final_name(struct cache *c, int fd, enum cache_room room,
			   const char *name, const char *final)
{
	int r = link_fd(fd, c->room[ROOM_BLOBS], final);

	if (r == 0 || r == -EEXIST || !name)
		return r;
	if (r == -EPERM || r == -EOPNOTSUPP || r == -EMLINK || r == -ENOENT ||
	    r == -ENOSYS || r == -EACCES)
		r = rename_to_final(c, fd, room, name, final);
	return r;
}

/*
 * Someone else has the name. Over NFS that may be ourselves, after a lost
 * reply; a file of the wrong size is not a blob at all.
 */
static int name_is_taken(struct cache *c, int fd, enum cache_room room,
			 const char *name, const char *final)
{
	struct stat ours, theirs;

	if (fstat(fd, &ours) < 0)
		return -errno;
	if (fstatat(c->room[ROOM_BLOBS], final, &theirs, AT_SYMLINK_NOFOLLOW) ==
		    0 &&
	    S_ISREG(theirs.st_mode) && theirs.st_size == ours.st_size)
		return 0;
	quarantine(c, ROOM_BLOBS, final, -1);
	return take_final_name(c, fd, room, name, final);
}

void blob_record(struct cache *c, int fd, const struct digest *d)
{
	struct shard_name final = shard_name(d);
	struct stat st;

	if (names_file(c->room[ROOM_BLOBS], final.str, fd) &&
	    fstat(fd, &st) == 0)
		statindex_put(c, d, &st, time_wall_ns());
}

int blob_flush(int fd)
{
	return fchmod(fd, 0444) < 0 || fsync(fd) < 0 ? -errno : 0;
}

int blob_name(struct cache *c, int fd, enum cache_room room, const char *name,
	      const struct digest *d)
{
	struct shard_name final = shard_name(d);
	int new_shard = shard_make(c, ROOM_BLOBS, final.str);
	int r = new_shard;

	if (r >= 0)
		r = take_final_name(c, fd, room, name, final.str);
	if (r == -EEXIST)
		r = name_is_taken(c, fd, room, name, final.str);
	return r < 0 && r != -EEXIST ? r : new_shard;
}

int blob_sync_name(struct cache *c, const struct digest *d, bool new_shard)
{
	struct shard_name final = shard_name(d);
	char dir[3] = {final.str[0], final.str[1], '\0'};
	cleanup_fd int fd = openat(c->room[ROOM_BLOBS], dir,
				   O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	int r = fd < 0 ? -errno : io_fsync_dir(fd);

	return r == 0 && new_shard ? io_fsync_dir(c->room[ROOM_BLOBS]) : r;
}

int blob_publish(struct cache *c, int fd, enum cache_room room,
		 const char *name, const struct digest *d, struct error **errp)
{
	int r = blob_name(c, fd, room, name, d);

	if (r < 0)
		return error_set_errno(errp, -r, "cannot link blob '%s'",
				       digest_to_hex(d).str);
	r = blob_sync_name(c, d, r == 1);
	if (r < 0)
		return error_set_errno(errp, -r, "cannot flush folder of '%s'",
				       digest_to_hex(d).str);
	if (name)
		unlinkat(c->room[room], name, 0);
	blob_record(c, fd, d);
	return 0;
}
