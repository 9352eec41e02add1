/*
 * Partials: sparse data in <hex>-<key>.part, and its map in <hex>-<key>.map.
 *
 * The map has the inode number of the data it was made for, so that the two
 * belong together or are both thrown away.
 */
#include "cache/content_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/time.h"

/* Up to here a content is nearly always fetched whole, and its space is
 * reserved at once. A bigger one stays sparse: its reader may want one chunk
 * of it, and a full disk still shows at each chunk's write. */
#define RESERVE_MAX (16u << 20)

struct partial_name partial_name(const struct content *ct, const char *suffix)
{
	struct digest_hex hex = digest_to_hex(&ct->digest);
	struct digest_hex key = digest_to_hex(&ct->key);
	struct partial_name n;

	snprintf(n.str, sizeof(n.str), "%.2s/%s-%s%s%s", hex.str, hex.str,
		 key.str, ct->c->private_tag, suffix);
	return n;
}

/*
 * A read-only partial is being sealed, or whoever sealed it was killed before
 * it got its final name. The gate tells which.
 */
static bool make_writable(struct content *ct, const char *name)
{
	int gate = ct->c->gate_fd;
	uint64_t off = gate_offset(ct);
	cleanup_fd int fd = -1;
	bool ok;

	if (ofd_try_lock(gate, LOCK_EXCLUSIVE, off, 1) == -EAGAIN)
		return false;
	/* Not by its name, which the sandbox of a mount allows of no file. */
	fd = openat(ct->c->room[ROOM_PARTIAL], name,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ok = fd >= 0 && fchmod(fd, 0600) == 0;
	ofd_unlock(gate, off, 1);
	return ok;
}

static int open_name(struct content *ct, const char *suffix, int flags)
{
	struct partial_name name = partial_name(ct, suffix);
	int dirfd = ct->c->room[ROOM_PARTIAL];
	int fd;

	flags |= O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	fd = openat(dirfd, name.str, flags | O_RDWR, 0600);
	if (fd < 0 && errno == EACCES) {
		/* While it is being sealed it can still be read. */
		flags |= make_writable(ct, name.str) ? O_RDWR : O_RDONLY;
		fd = openat(dirfd, name.str, flags, 0600);
	}
	return fd < 0 ? -errno : fd;
}

static void unlink_if(struct content *ct, const char *suffix, int fd)
{
	struct partial_name name = partial_name(ct, suffix);
	int dirfd = ct->c->room[ROOM_PARTIAL];
	struct stat by_fd, by_name;

	/* Another process may have begun a new one. */
	if (fd >= 0 &&
	    (fstat(fd, &by_fd) < 0 ||
	     fstatat(dirfd, name.str, &by_name, AT_SYMLINK_NOFOLLOW) < 0 ||
	     by_fd.st_ino != by_name.st_ino))
		return;
	unlinkat(dirfd, name.str, 0);
}

void partial_discard(struct content *ct, const struct backing *b)
{
	if (b->map_fd >= 0) {
		chunk_map_set_state(b->map_fd, MAP_DEAD);
		unlink_if(ct, ".map", b->map_fd);
	}
	if (b->fd >= 0)
		unlink_if(ct, ".part", b->fd);
}

void partial_unlink_file(struct content *ct, int fd)
{
	unlink_if(ct, ".part", fd);
}

void partial_unlink(struct content *ct)
{
	unlink_if(ct, ".map", -1);
	unlink_if(ct, ".part", -1);
}

static void info_fill(const struct content *ct, uint64_t part_ino,
		      struct map_info *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->digest = ct->digest;
	ret->key = ct->key;
	ret->size = ct->size;
	ret->n = ct->n;
	ret->part_ino = part_ino;
	snprintf(ret->boot_id, sizeof(ret->boot_id), "%s", time_boot_id());
}

static bool info_fits(const struct content *ct, const struct map_info *info,
		      const struct stat *part)
{
	return digest_equal(&info->digest, &ct->digest) &&
	       digest_equal(&info->key, &ct->key) && info->size == ct->size &&
	       S_ISREG(part->st_mode) && info->part_ino == part->st_ino &&
	       (uint64_t)part->st_size == ct->size;
}

/* A new map in tmp/, ready to be named. */
static int map_stage(struct content *ct, const struct map_info *info,
		     const uint8_t *states, char *ret_tmp)
{
	int dirfd = ct->c->room[ROOM_TMP];
	cleanup_fd int fd = -1;
	int r;

	random_name(ret_tmp);
	fd = openat(dirfd, ret_tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return -errno;
	r = chunk_map_write(fd, info, ct->chunks, states);
	if (r < 0) {
		unlinkat(dirfd, ret_tmp, 0);
		return r;
	}
	return steal_fd(&fd);
}

/*
 * After a reboot: what was written without a barrier may not be on the disk.
 * A new map takes the place of the old, so that nobody meets half a header;
 * one process does it, the others find the new one.
 */
static int map_renew(struct content *ct, struct backing *b,
		     struct map_info *info)
{
	struct partial_name name = partial_name(ct, ".map");
	cleanup_free uint8_t *states = NULL;
	char tmp[RANDOM_NAME_SIZE];
	int r = chunk_map_snapshot(b->map_fd, ct->n, &states);
	int fd;

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < ct->n; i++)
		states[i] = states[i] & CHUNK_DURABLE ? CHUNK_DURABLE : 0;
	snprintf(info->boot_id, sizeof(info->boot_id), "%s", time_boot_id());
	info->generation++;
	fd = map_stage(ct, info, states, tmp);
	if (fd < 0)
		return fd;
	if (renameat(ct->c->room[ROOM_TMP], tmp, ct->c->room[ROOM_PARTIAL],
		     name.str) < 0) {
		r = -errno;
		unlinkat(ct->c->room[ROOM_TMP], tmp, 0);
		close(fd);
		return r;
	}
	closep(&b->map_fd);
	b->map_fd = fd;
	return 0;
}

static bool same_boot(const struct map_info *info)
{
	return info->boot_id[0] && !strcmp(info->boot_id, time_boot_id());
}

/* Both files open, belonging together, of this boot; else what it is. */
static int open_pair(struct content *ct, struct backing *b,
		     struct map_info *ret)
{
	struct stat st;
	int r;

	b->map_fd = open_name(ct, ".map", 0);
	if (b->map_fd < 0)
		return b->map_fd;
	b->fd = open_name(ct, ".part", 0);
	if (b->fd == -ENOENT)
		return -EBADMSG; /* a map of nothing */
	if (b->fd < 0)
		return b->fd;
	r = chunk_map_read(b->map_fd, ret);
	if (r == 0 && fstat(b->fd, &st) < 0)
		r = -errno;
	if (r == 0 && !info_fits(ct, ret, &st))
		r = -EBADMSG;
	if (r == 0 && chunk_map_get_state(b->map_fd) != MAP_LIVE)
		r = -EBADMSG;
	return r == 0 && !same_boot(ret) ? -ESTALE : r;
}

static void close_pair(struct backing *b)
{
	closep(&b->map_fd);
	closep(&b->fd);
}

static uint64_t renew_offset(const struct content *ct)
{
	/* Apart from the gate's own byte, which this thread may hold. */
	return (UINT64_C(1) << 62) + (digest_prefix64(&ct->key) >> 2);
}

static int renew_pair(struct content *ct, struct backing *b)
{
	int fd = ct->c->gate_fd;
	struct map_info info;
	int r = ofd_try_lock(fd, LOCK_EXCLUSIVE, renew_offset(ct), 1);

	if (r == -EAGAIN)
		return -ENOENT; /* another process is at it: nothing yet */
	close_pair(b);
	r = open_pair(ct, b, &info); /* it may be done by now */
	if (r == -ESTALE)
		r = map_renew(ct, b, &info);
	ofd_unlock(fd, renew_offset(ct), 1);
	return r;
}

/* What no program of ours made: a symlink or a folder under our names. */
static void remove_odd(struct content *ct)
{
	int dirfd = ct->c->room[ROOM_PARTIAL];

	(void)io_remove_tree(dirfd, partial_name(ct, ".map").str);
	(void)io_remove_tree(dirfd, partial_name(ct, ".part").str);
}

int partial_open(struct content *ct, struct backing *ret)
{
	struct map_info info;
	int r = open_pair(ct, ret, &info);

	if (r == -ESTALE)
		r = renew_pair(ct, ret);
	if (r == -EBADMSG || r == -ELOOP || r == -EISDIR) {
		log_debug("cache: partial '%s' is damaged, deleted",
			  partial_name(ct, "").str);
		partial_discard(ct, ret);
		if (r != -EBADMSG)
			remove_odd(ct);
		r = -ENOENT;
	}
	if (r < 0)
		close_pair(ret);
	return r;
}

int partial_open_single(struct content *ct, struct backing *ret)
{
	struct partial_name name = partial_name(ct, ".part");
	int dirfd = ct->c->room[ROOM_PARTIAL];
	struct stat st;

	ret->fd = openat(dirfd, name.str,
			 O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (ret->fd < 0 && errno != ELOOP)
		return -errno;
	if (ret->fd >= 0 && fstat(ret->fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    (uint64_t)st.st_size == ct->size)
		return 0;
	closep(&ret->fd);
	remove_odd(ct);
	return -ENOENT;
}

static int part_make(struct content *ct, struct stat *ret_st)
{
	cleanup_fd int fd = open_name(ct, ".part", O_CREAT);
	int r;

	if (fd < 0)
		return fd;
	if (fstat(fd, ret_st) < 0)
		return -errno;
	if ((uint64_t)ret_st->st_size != ct->size &&
	    ftruncate(fd, (off_t)ct->size) < 0)
		return -errno;
	r = ct->size <= RESERVE_MAX ? reserve_space(fd, ct->size) : 0;
	if (r < 0) {
		unlink_if(ct, ".part", fd);
		return r;
	}
	return steal_fd(&fd);
}

/* Whoever comes second uses the first one's map. */
static int map_make(struct content *ct, uint64_t part_ino)
{
	struct partial_name name = partial_name(ct, ".map");
	int tmpfd = ct->c->room[ROOM_TMP];
	char tmp[RANDOM_NAME_SIZE];
	struct map_info info;
	int r = 0;
	int fd;

	info_fill(ct, part_ino, &info);
	fd = map_stage(ct, &info, NULL, tmp);
	if (fd < 0)
		return fd;
	close(fd);
	if (linkat(tmpfd, tmp, ct->c->room[ROOM_PARTIAL], name.str, 0) < 0 &&
	    errno != EEXIST)
		/* No links here. Replacing another's map costs fetches. */
		r = renameat(tmpfd, tmp, ct->c->room[ROOM_PARTIAL], name.str);
	if (r < 0)
		r = -errno;
	unlinkat(tmpfd, tmp, 0);
	return r;
}

static int make_pair(struct content *ct)
{
	struct stat st;
	int fd = part_make(ct, &st);
	int r;

	if (fd == -ELOOP || fd == -EISDIR) {
		remove_odd(ct);
		fd = part_make(ct, &st);
	}
	if (fd < 0)
		return fd;
	r = map_make(ct, st.st_ino);
	close(fd);
	return r;
}

int partial_make(struct content *ct, struct backing *ret)
{
	struct partial_name name = partial_name(ct, ".part");
	int r = MIN(shard_make(ct->c, ROOM_PARTIAL, name.str), 0);

	/* Another process may delete a damaged one at the same time. */
	for (int tries = 0; r == 0 && tries < 3; tries++) {
		r = make_pair(ct);
		if (r == 0)
			r = partial_open(ct, ret);
		if (r != -ENOENT)
			return r;
		r = 0;
	}
	return r < 0 ? r : -EAGAIN;
}
