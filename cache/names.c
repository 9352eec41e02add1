#include "cache/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"

struct shard_name shard_name(const struct digest *d)
{
	struct digest_hex hex = digest_to_hex(d);
	struct shard_name n;

	memcpy(n.str, hex.str, 2);
	n.str[2] = '/';
	memcpy(n.str + 3, hex.str, sizeof(hex.str));
	return n;
}

void blobs_have_mode(const struct cache *c, int fd)
{
	struct stat st;

	/* Then it is root's, or read-only, and nobody's to change here. */
	if (fd >= 0 && fstat(fd, &st) == 0 &&
	    (st.st_mode & 07777) != c->blobs_mode &&
	    fchmod(fd, c->blobs_mode) < 0)
		log_debug("cache: blobs/ keeps its mode: %s", strerror(errno));
}

int shard_make(struct cache *c, enum cache_room room, const char *name)
{
	char dir[3] = {name[0], name[1], '\0'};
	cleanup_fd int fd = -1;
	mode_t mode = room == ROOM_BLOBS ? c->blobs_mode : 0700;

	if (mkdirat(c->room[room], dir, mode) < 0)
		return errno == EEXIST ? 0 : -errno;
	if (mode == 0700)
		return 1;
	/* Whatever the umask is. */
	fd = openat(c->room[room], dir,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	blobs_have_mode(c, fd);
	return 1;
}

void random_name(char *ret)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char raw[(RANDOM_NAME_SIZE - 1) / 2];

	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		abort(); /* eight bytes are given whole, or never */
	for (size_t i = 0; i < sizeof(raw); i++) {
		ret[2 * i] = hex[raw[i] >> 4];
		ret[2 * i + 1] = hex[raw[i] & 15];
	}
	ret[RANDOM_NAME_SIZE - 1] = '\0';
}

int rename_new(int from, const char *name, int to, const char *final)
{
	if (renameat2(from, name, to, final, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (faccessat(to, final, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	return renameat(from, name, to, final) < 0 ? -errno : 0;
}

int reserve_space(int fd, uint64_t size)
{
	struct statvfs fs;

	if (size == 0)
		return 0;
	/* Asked for first: fallocate() would fill the disk, and then fail. */
	if (fstatvfs(fd, &fs) == 0 && fs.f_blocks &&
	    size / fs.f_frsize > (geteuid() ? fs.f_bavail : fs.f_bfree))
		return -ENOSPC;
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)size) < 0 &&
	    (errno == ENOSPC || errno == EDQUOT))
		return -errno;
	return 0;
}

int hash_file(int fd, uint64_t size, hash_each_fn *each, void *ctx,
	      struct digest *ret)
{
	cleanup_hasher struct hasher *h = hasher_new();
	cleanup_free unsigned char *buf = xmalloc(CHUNK_SIZE);
	uint32_t i = 0;

	for (uint64_t off = 0; off < size; i++) {
		size_t want = (size_t)MIN(size - off, (uint64_t)CHUNK_SIZE);
		ssize_t n = io_pread_full(fd, buf, want, off);
		int r;

		if (n < 0)
			return (int)n;
		if ((size_t)n < want)
			return -EIO;
		hasher_update(h, buf, want);
		r = each ? each(ctx, i, buf, (uint32_t)want) : 0;
		if (r != 0)
			return r;
		off += want;
	}
	*ret = hasher_final(h);
	return 0;
}

int no_room(struct error **errp, int r, const char *what)
{
	error_set_errno(errp, -r, "cannot make room for '%s'", what);
	if (r != -ENOSPC && r != -EDQUOT)
		return r;
	return error_hint(errp, r,
			  "'mops cache gc --max-size SIZE' removes what was "
			  "used longest ago");
}
