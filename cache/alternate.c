/*
 * Other caches, read below this one: a site's, or those of the other members of
 * a group. They are never written to, and whoever writes to them may do so
 * while we read: a chunk counts when its bytes in our memory were hashed, a
 * whole blob when it is a file of ours or root's that we hashed before, or after
 * it was copied here. A blob of theirs that turns out damaged is not looked at
 * again by this process; nor is one that cannot be read after all.
 */
#include "cache/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "cache/internal.h"

int alternate_add(struct cache *c, int dirfd)
{
	int fd;

	if (c->n_alternates == ALTERNATES_MAX)
		return -ENOBUFS;
	fd = io_open_same_mount(dirfd, "blobs/sha256", O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd;
	c->alternates[c->n_alternates++] = fd;
	return 0;
}

int cache_add_alternate(struct cache *c, const char *dir, struct error **errp)
{
	cleanup_fd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 ? -errno : alternate_add(c, fd);

	if (r == -ENOBUFS)
		return error_set(errp, EINVAL, "more than %d alternate caches",
				 ALTERNATES_MAX);
	return r < 0 ? error_set_errno(errp, -r, "cannot open cache '%s'", dir)
		     : 0;
}

void alternates_release(struct cache *c)
{
	for (unsigned i = 0; i < c->n_alternates; i++)
		closep(&c->alternates[i]);
	map_release(&c->distrusted);
}

static bool is_distrusted(struct cache *c, const struct digest *d)
{
	bool found;

	mutex_lock(&c->distrust_lock);
	found = map_get(&c->distrusted, d->b, DIGEST_SIZE) != NULL;
	mutex_unlock(&c->distrust_lock);
	return found;
}

void alternates_distrust(struct cache *c, const struct digest *d)
{
	log_debug("cache: blob '%s' of an alternate cache is damaged",
		  digest_to_hex(d).str);
	mutex_lock(&c->distrust_lock);
	map_put(&c->distrusted, d->b, DIGEST_SIZE, c);
	mutex_unlock(&c->distrust_lock);
}

/* No symlink at any step, no wait for a FIFO's writer or the holder of a
 * file's lease, nothing that was mounted there. */
static int open_theirs(int blobs, const struct digest *d, struct stat *ret_st)
{
	struct shard_name name = shard_name(d);
	cleanup_fd int fd = io_open_same_mount(
		blobs, name.str, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0 || fstat(fd, ret_st) < 0 || !S_ISREG(ret_st->st_mode))
		return -ENOENT;
	return steal_fd(&fd);
}

int alternates_open(struct cache *c, const struct digest *d, uint64_t size,
		    struct stat *ret_st)
{
	if (c->n_alternates == 0 || is_distrusted(c, d))
		return -ENOENT;
	for (unsigned i = 0; i < c->n_alternates; i++) {
		cleanup_fd int fd = open_theirs(c->alternates[i], d, ret_st);

		if (fd >= 0 && (uint64_t)ret_st->st_size == size)
			return steal_fd(&fd);
	}
	return -ENOENT;
}

static char *read_theirs(int blobs, const struct digest *d, size_t max,
			 size_t *ret_len)
{
	struct stat st;
	cleanup_fd int fd = open_theirs(blobs, d, &st);
	cleanup_free char *buf = NULL;
	struct digest got;
	size_t n;

	if (fd < 0 || (uint64_t)st.st_size > max)
		return NULL;
	n = (size_t)st.st_size;
	buf = xmalloc(n + 1);
	if (io_pread_full(fd, buf, n, 0) != (ssize_t)n)
		return NULL;
	got = digest_of_buf(buf, n);
	if (!digest_equal(&got, d))
		return NULL;
	buf[n] = '\0';
	*ret_len = n;
	return steal_ptr(&buf);
}

int alternates_read(struct cache *c, const struct digest *d, size_t max,
		    char **ret, size_t *ret_len)
{
	for (unsigned i = 0; i < c->n_alternates; i++) {
		char *buf = read_theirs(c->alternates[i], d, max, ret_len);

		if (buf) {
			*ret = buf;
			return 0;
		}
	}
	return -ENOENT;
}

/*
 * Whole blobs.
 */

static int write_chunk(void *ctx, uint32_t i, const void *buf, uint32_t n)
{
	int r = draft_write(ctx, buf, n, NULL);

	(void)i;
	/* Not to be taken for an error of the blob. */
	return r == -EIO ? -EREMOTEIO : r;
}

/* Its bytes in a file of ours, hashed there or on the way. */
static int copy_home(struct cache *c, const struct digest *d, uint64_t size,
		     int fd, struct draft *s)
{
	struct digest got;
	int r;

	/* It may have grown by the time it is cloned. */
	if (io_reflink(fd, draft_fd(s)) < 0)
		r = hash_file(fd, size, write_chunk, s, &got);
	else if (ftruncate(draft_fd(s), (off_t)size) < 0)
		r = -errno;
	else
		r = hash_file(draft_fd(s), size, NULL, NULL, &got);

	if (r < 0 && r != -EIO && r != -EACCES)
		return r;
	if (r == 0 && digest_equal(&got, d))
		return 0;
	blob_condemn(c, d, fd);
	return -ESTALE;
}

bool blob_is_vouched_for(struct cache *c, const struct digest *d, int fd)
{
	struct stat st;

	return blob_is_ours(c, d, fd) ||
	       (fstat(fd, &st) == 0 && statindex_matches(c, d, &st));
}

int blob_vouch(struct cache *c, const struct digest *d, uint64_t size, int fd)
{
	cleanup_draft struct draft *s = NULL;
	struct stat st;
	int r;

	if (blob_is_vouched_for(c, d, fd))
		return 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (stat_is_trusted(&st)) {
		r = blob_rehash(c, d, fd, size);
		if (r == -ENOENT)
			return -ESTALE;
		if (r < 0 || blob_is_vouched_for(c, d, fd))
			return r;
	}
	r = draft_new(c, size, &s, NULL);
	if (r == 0)
		r = copy_home(c, d, size, fd, s);
	if (r == 0)
		r = draft_publish(s, d, NULL);
	return r < 0 ? r : 1;
}

int cache_blob_keep(struct cache *c, const struct digest *d, uint64_t size)
{
	struct stat st;
	cleanup_fd int fd = blob_open_named(c, d, size, &st);
	int r = fd < 0 ? fd : blob_vouch(c, d, size, fd);

	return r == -ESTALE ? -ENOENT : MIN(r, 0);
}
