/*
 * A blob gets another name, outside the cache.
 *
 * A reflink or a copy is a file of its own. A hardlink is the blob itself: its
 * new owner can write through it, which is found out by the stat index. So the
 * index is renewed after our own link() only if nothing but the link count and
 * ctime moved, and a blob that a mount passes through is never linked.
 */
#include "cache/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/io.h"
#include "base/time.h"
#include "cache/internal.h"

struct target {
	int dirfd;
	const char *name;
};

static int target_create(const struct target *t)
{
	int fd = openat(t->dirfd, t->name,
			O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			0600);

	return fd < 0 ? -errno : fd;
}

static int target_remove(const struct target *t, int r)
{
	unlinkat(t->dirfd, t->name, 0);
	return r;
}

/*
 * Reflinks. That a file system has none is learned once.
 */

static bool reflink_is_hopeless(struct cache *c, const struct target *t,
				dev_t *ret_dev)
{
	struct stat st;
	bool hopeless;

	if (fstat(t->dirfd, &st) < 0)
		return true;
	*ret_dev = st.st_dev;
	mutex_lock(&c->lock);
	hopeless = map_get(&c->no_reflink, ret_dev, sizeof(*ret_dev)) != NULL;
	mutex_unlock(&c->lock);
	return hopeless;
}

static void reflink_never_again(struct cache *c, dev_t dev)
{
	mutex_lock(&c->lock);
	map_put(&c->no_reflink, &dev, sizeof(dev), c);
	mutex_unlock(&c->lock);
}

/* Are the bytes of the clone @out those of the digest? */
static int check_clone(struct cache *c, const struct link_request *rq, int blob,
		       int out)
{
	struct digest got;
	struct stat st;
	int r;

	if (fstat(blob, &st) == 0 && statindex_matches(c, rq->digest, &st))
		return 0;
	/* Another user's may have grown by the time it was cloned. */
	if (ftruncate(out, (off_t)rq->size) < 0)
		return -errno;
	r = hash_file(out, rq->size, NULL, NULL, &got);
	if (r < 0 && r != -EIO)
		return r;
	if (r == 0 && digest_equal(&got, rq->digest))
		return 0;
	blob_condemn(c, rq->digest, blob);
	return -ENOENT;
}

/* -EOPNOTSUPP: not here, try something else. */
static int reflink_out(struct cache *c, const struct link_request *rq, int blob,
		       const struct target *t)
{
	cleanup_fd int out = -1;
	dev_t dev = 0;
	int r;

	if (reflink_is_hopeless(c, t, &dev))
		return -EOPNOTSUPP;
	out = target_create(t);
	if (out < 0)
		return out;
	r = io_reflink(blob, out);
	if (r == -EOPNOTSUPP || r == -EXDEV || r == -EINVAL)
		reflink_never_again(c, dev);
	if (r < 0)
		return target_remove(t, -EOPNOTSUPP);
	r = check_clone(c, rq, blob, out);
	if (r == 0 && fchmod(out, rq->mode) < 0)
		r = -errno;
	return r < 0 ? target_remove(t, r) : 0;
}

/*
 * Hardlinks.
 */

static bool hardlink_allowed(const struct cache *c,
			     const struct link_request *rq, int blob)
{
	struct stat st;

	return !rq->writable && !rq->executable && rq->size > 0 &&
	       c->locks_trusted && fstat(blob, &st) == 0 &&
	       st.st_uid == geteuid() && !(st.st_mode & 0333) &&
	       blob_is_ours(c, rq->digest, blob);
}

/* Another linker holds this lock for an instant, a mount for as long as it
 * passes the blob through. */
static bool lock_against_passthrough(int blob)
{
	for (int ms = 0; ms <= 2; ms++) {
		if (ms)
			time_sleep_ms(ms);
		if (flock(blob, LOCK_EX | LOCK_NB) == 0)
			return true;
	}
	return false;
}

/* A stat of @blob that the index knows; the blob is hashed if need be. */
static int indexed_stat(struct cache *c, const struct link_request *rq,
			int blob, struct stat *ret)
{
	int r;

	if (fstat(blob, ret) < 0)
		return -errno;
	if (statindex_matches(c, rq->digest, ret))
		return 0;
	r = blob_rehash(c, rq->digest, blob, rq->size);
	if (r == 0 && fstat(blob, ret) < 0)
		r = -errno;
	if (r == 0 && !statindex_matches(c, rq->digest, ret))
		r = -EOPNOTSUPP; /* someone is changing it */
	return r;
}

/* The new name is there. Is it this blob, and is the blob as it was? */
static bool link_was_clean(int blob, const struct target *t,
			   const struct stat *before, struct stat *ret_after)
{
	struct stat named;

	return fstat(blob, ret_after) == 0 &&
	       fstatat(t->dirfd, t->name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       named.st_ino == before->st_ino &&
	       named.st_dev == before->st_dev &&
	       stat_same_but_links(before, ret_after) &&
	       ret_after->st_mode == before->st_mode &&
	       ret_after->st_uid == before->st_uid;
}

/* -EOPNOTSUPP: not possible, copy. */
static int hardlink_out(struct cache *c, const struct link_request *rq,
			int blob, const struct target *t)
{
	struct shard_name name = shard_name(rq->digest);
	struct stat before, after;
	int r;

	if (!hardlink_allowed(c, rq, blob) || !lock_against_passthrough(blob))
		return -EOPNOTSUPP;
	r = indexed_stat(c, rq, blob, &before);
	if (r < 0)
		return r;
	if (linkat(c->room[ROOM_BLOBS], name.str, t->dirfd, t->name, 0) < 0)
		/* EMLINK, EXDEV, EPERM and whatever else a file system says */
		return errno == EEXIST || errno == ENOENT ? -errno
							  : -EOPNOTSUPP;
	if (!link_was_clean(blob, t, &before, &after)) {
		statindex_forget(c, rq->digest);
		return target_remove(t, -EOPNOTSUPP);
	}
	/* Only the link count moved: what counted a moment ago counts. */
	statindex_put(c, rq->digest, &after, time_wall_ns());
	return 0;
}

/*
 * Copies.
 */

struct copy {
	int out;
	uint64_t off;
};

static int copy_chunk(void *ctx, uint32_t i, const void *buf, uint32_t n)
{
	struct copy *cp = ctx;
	int r = io_pwrite_full(cp->out, buf, n, cp->off);

	cp->off += n;
	/* Not to be taken for an error of the blob. */
	return r == -EIO ? -EREMOTEIO : r;
}

static int copy_bytes(struct cache *c, const struct link_request *rq, int blob,
		      int out)
{
	struct copy cp = {.out = out};
	int64_t at_ns = time_wall_ns();
	struct stat before, after;
	struct digest got;
	int r;

	r = reserve_space(out, rq->size);
	if (r < 0)
		return r;
	if (fstat(blob, &before) < 0)
		return -errno;
	r = hash_file(blob, rq->size, copy_chunk, &cp, &got);
	if (r == -EREMOTEIO)
		return -EIO;
	/* What is not to be had of another's file is fetched. */
	if (r < 0 && r != -EIO &&
	    (r != -EACCES || blob_is_ours(c, rq->digest, blob)))
		return r;
	if (r < 0 || !digest_equal(&got, rq->digest)) {
		blob_condemn(c, rq->digest, blob);
		return -ENOENT;
	}
	/* It was hashed on the way: worth remembering. */
	if (fstat(blob, &after) == 0 && stat_same(&before, &after) &&
	    !statindex_matches(c, rq->digest, &after))
		statindex_put(c, rq->digest, &after, at_ns);
	return fchmod(out, rq->mode) < 0 ? -errno : 0;
}

static int copy_out(struct cache *c, const struct link_request *rq, int blob,
		    const struct target *t)
{
	cleanup_fd int out = target_create(t);
	int r;

	if (out < 0)
		return out;
	r = copy_bytes(c, rq, blob, out);
	return r < 0 ? target_remove(t, r) : 0;
}

static int symlink_out(struct cache *c, const struct link_request *rq, int blob,
		       const struct target *t)
{
	struct shard_name name = shard_name(rq->digest);
	cleanup_free char *to =
		xasprintf("%s/blobs/sha256/%s", c->path, name.str);
	struct stat st;
	int r = 0;

	if (fstat(blob, &st) < 0)
		return -errno;
	/* The way to another cache is its owner's, who may change it. */
	if (!blob_is_ours(c, rq->digest, blob))
		return -EOPNOTSUPP;
	if (!statindex_matches(c, rq->digest, &st))
		r = blob_rehash(c, rq->digest, blob, rq->size);
	if (r == 0 && symlinkat(to, t->dirfd, t->name) < 0)
		r = -errno;
	return r;
}

/* In order of preference. The last of the row always works. */
static const struct {
	enum link_how how;
	int (*link)(struct cache *c, const struct link_request *rq, int blob,
		    const struct target *t);
} ways[] = {
	{LINK_SYMLINK, symlink_out},
	{LINK_REFLINK, reflink_out},
	{LINK_HARDLINK, hardlink_out},
	{LINK_COPY, copy_out},
};

static bool way_allowed(enum link_how way, enum link_how asked)
{
	if (way == LINK_COPY || way == asked)
		return true;
	return asked == LINK_AUTO && way != LINK_SYMLINK;
}

static int link_best(struct cache *c, const struct link_request *rq, int blob,
		     const struct target *t, enum link_how *ret_done)
{
	int r = -EOPNOTSUPP;

	for (size_t i = 0; r == -EOPNOTSUPP && i < ARRAY_SIZE(ways); i++) {
		if (!way_allowed(ways[i].how, rq->how))
			continue;
		*ret_done = ways[i].how;
		r = ways[i].link(c, rq, blob, t);
	}
	return r;
}

int cache_link_out(struct cache *c, const struct link_request *rq, int dirfd,
		   const char *name, enum link_how *ret_done,
		   struct error **errp)
{
	struct target t = {.dirfd = dirfd, .name = name};
	enum link_how done = LINK_AUTO;
	struct stat st;
	cleanup_fd int blob = blob_open_named(c, rq->digest, rq->size, &st);
	int r = blob;

	if (blob >= 0)
		r = link_best(c, rq, blob, &t, &done);
	if (r == -ENOENT)
		return error_set(errp, ENOENT, "blob '%s' is not in the cache",
				 digest_to_hex(rq->digest).str);
	if (r < 0)
		return error_set_errno(errp, -r, "cannot write '%s'", name);
	*ret_done = done;
	return 0;
}
