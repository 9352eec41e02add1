#include "cache/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "cache/internal.h"

#define CACHE_VERSION    "1\n"
#define GATE_PATIENCE_MS 20000

static const char cachedir_tag[] =
	"Signature: 8a477f597d28d172789f06886806bc55\n"
	"# Verified blobs that can be fetched again; no backup needs them.\n";

static const char *const room_paths[ROOM_COUNT] = {
	[ROOM_BLOBS] = "blobs/sha256",
	[ROOM_PARTIAL] = "partial/sha256",
	[ROOM_INDEX] = "index",
	[ROOM_LAYERS] = "layers",
	[ROOM_BUNDLES] = "bundles",
	[ROOM_REFS] = "refs",
	[ROOM_HASHES] = "hashes",
	[ROOM_LEASES] = "leases",
	[ROOM_LOCKS] = "locks",
	[ROOM_QUARANTINE] = "quarantine",
	[ROOM_TMP] = "tmp",
	[ROOM_TRASH] = "trash",
};

/*
 * Whoever can write to the folder can forge the stat index, which is believed
 * when a blob is passed through or linked; so it must be ours alone.
 */
static int check_trust(int fd, const char *path, struct error **errp)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return error_set_errno(errp, errno, "cache folder '%s'", path);
	if (st.st_uid != geteuid() && st.st_uid != 0) {
		r = error_set_kind(errp, ERROR_VALIDATION, EACCES,
				   "cache folder '%s' belongs to user %u", path,
				   (unsigned)st.st_uid);
		return error_hint(errp, r,
				  "choose a folder of your own with "
				  "MOPS_CACHE_DIR or --cache-dir");
	}
	if (st.st_mode & (S_IWGRP | S_IWOTH)) {
		r = error_set_kind(errp, ERROR_VALIDATION, EACCES,
				   "cache folder '%s' is writable by others",
				   path);
		return error_hint(errp, r, "run: chmod go-w '%s'", path);
	}
	return 0;
}

static bool dir_is_empty(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	bool empty = true;
	struct dirent *e;

	if (!d) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while (empty && (e = readdir(d)))
		empty = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
	closedir(d);
	return empty;
}

/* The tag tells backups to skip the folder, so it is only left in one that was
 * empty: not in somebody's home. */
static int write_version(struct cache *c, struct error **errp)
{
	int r = 0;

	if (dir_is_empty(c->dirfd))
		r = io_write_file_atomic(c->dirfd, "CACHEDIR.TAG", cachedir_tag,
					 strlen(cachedir_tag), 0644);
	if (r == 0)
		r = io_write_file_atomic(c->dirfd, "version", CACHE_VERSION,
					 strlen(CACHE_VERSION), 0644);
	if (r < 0)
		return error_set_errno(errp, -r, "cannot write to cache '%s'",
				       c->path);
	return 0;
}

static int check_version(struct cache *c, struct error **errp)
{
	cleanup_free char *text = NULL;
	size_t len = 0;
	int r = io_read_file(c->dirfd, "version", 64, &text, &len);

	/* Empty: power was cut before the first version file was whole. */
	if (r == -ENOENT || (r >= 0 && len == 0))
		return write_version(c, errp);
	if (r < 0 && r != -EFBIG)
		return error_set_errno(errp, -r, "cannot read '%s/version'",
				       c->path);
	if (r < 0 || strcmp(text, CACHE_VERSION) != 0) {
		r = error_set_kind(errp, ERROR_MEDIA_TYPE, EINVAL,
				   "cache '%s' has another version than this "
				   "program knows",
				   c->path);
		return error_hint(errp, r,
				  "use another folder, or a newer program");
	}
	return 0;
}

/* As open as the cache's own folder, whatever the umask is. */
static void share_blobs(struct cache *c)
{
	cleanup_fd int blobs = -1;

	if (c->blobs_mode == 0700)
		return;
	blobs = io_open_beneath(c->dirfd, "blobs", O_RDONLY | O_DIRECTORY, 0);
	blobs_have_mode(c, blobs);
	blobs_have_mode(c, c->room[ROOM_BLOBS]);
}

static int open_room(struct cache *c, enum cache_room room, struct error **errp)
{
	cleanup_free char *path = xasprintf("%s/%s", c->path, room_paths[room]);
	mode_t mode = room == ROOM_BLOBS ? c->blobs_mode : 0700;
	int r = io_mkdirs_beneath(c->dirfd, room_paths[room], mode);

	if (r >= 0)
		r = io_open_beneath(c->dirfd, room_paths[room],
				    O_RDONLY | O_DIRECTORY, 0);
	if (r < 0)
		return error_set_errno(errp, -r, "cannot open '%s'", path);
	c->room[room] = r;
	if (room == ROOM_BLOBS)
		share_blobs(c);
	return check_trust(r, path, errp);
}

/* Locks save work: where they cannot be had, it goes on without. */
static int open_lock(struct cache *c, const char *name, int *ret,
		     struct error **errp)
{
	*ret = openat(c->room[ROOM_LOCKS], name,
		      O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (*ret < 0 && cache_is_unwritable(-errno)) {
		log_debug("cache: '%s/locks/%s': %s", c->path, name,
			  strerror(errno));
		return 0;
	}
	if (*ret < 0)
		return error_set_errno(errp, errno, "cannot open '%s/locks/%s'",
				       c->path, name);
	return 0;
}

static int open_folder(struct cache *c, const char *dir, struct error **errp)
{
	int r = io_mkdirs(dir, 0700);
	struct stat st;

	if (r < 0)
		return error_set_errno(errp, -r,
				       "cannot make cache folder '%s'", dir);
	/* Symlinks in layers/ and into workdirs need the absolute path. */
	c->path = realpath(dir, NULL);
	if (!c->path)
		return error_set_errno(errp, errno, "cache folder '%s'", dir);
	c->dirfd = open(c->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->dirfd < 0 || fstat(c->dirfd, &st) < 0)
		return error_set_errno(errp, errno,
				       "cannot open cache folder '%s'", dir);
	c->dev = st.st_dev;
	/* One that others may read is somebody's alternate. */
	c->blobs_mode = 0700 | (st.st_mode & (S_ISGID | 0055));
	if (c->blobs_mode == (0700 | S_ISGID))
		c->blobs_mode = 0700;
	return check_trust(c->dirfd, c->path, errp);
}

static int open_all(struct cache *c, const char *dir, struct error **errp)
{
	int r = open_folder(c, dir, errp);

	if (r == 0)
		r = check_version(c, errp);
	for (int i = 0; r == 0 && i < ROOM_COUNT; i++)
		r = open_room(c, (enum cache_room)i, errp);
	if (r == 0)
		r = open_lock(c, "claim", &c->claim_fd, errp);
	if (r == 0)
		r = open_lock(c, "chunk", &c->chunk_fd, errp);
	if (r == 0)
		r = open_lock(c, "gate", &c->gate_fd, errp);
	return r;
}

/* A quarter of the descriptors this process may have, two a content. */
static unsigned content_budget(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0 || lim.rlim_cur == RLIM_INFINITY)
		return 1024;
	return (unsigned)MAX(MIN(lim.rlim_cur / 8, 1024), 8);
}

int cache_open(const char *dir, struct cache **ret, struct error **errp)
{
	cleanup_cache struct cache *c = xcalloc(1, sizeof(*c));
	int r;

	c->dirfd = c->claim_fd = c->chunk_fd = c->gate_fd = -1;
	for (int i = 0; i < ROOM_COUNT; i++)
		c->room[i] = -1;
	mutex_init(&c->lock, LOCK_CACHE);
	mutex_init(&c->distrust_lock, LOCK_DISTRUST);
	cond_init(&c->claim_released);
	cond_init(&c->batch_flushed);
	c->open_contents.max = content_budget();
	c->batch_max = MIN((unsigned)BATCH_MAX, c->open_contents.max);

	r = open_all(c, dir, errp);
	if (r < 0)
		return r;
	c->gate_patience_ms = GATE_PATIENCE_MS;
	c->locks_trusted = locks_trustworthy(c->room[ROOM_TMP]);
	if (!c->locks_trusted) {
		c->private_tag[0] = '.';
		random_name(c->private_tag + 1);
	}
	*ret = steal_ptr(&c);
	return 0;
}

int cache_sync(struct cache *c, struct error **errp)
{
	int r = batch_flush(c);

	if (r < 0)
		return error_set_errno(errp, -r, "cannot flush cache '%s'",
				       c->path);
	return 0;
}

void cache_close(struct cache *c)
{
	(void)batch_flush(c);
	for (int i = 0; i < ROOM_COUNT; i++)
		closep(&c->room[i]);
	closep(&c->claim_fd);
	closep(&c->chunk_fd);
	closep(&c->gate_fd);
	closep(&c->dirfd);
	alternates_release(c);
	mutex_destroy(&c->distrust_lock);
	map_release(&c->claims);
	map_release(&c->contents);
	map_release(&c->no_reflink);
	cond_destroy(&c->claim_released);
	cond_destroy(&c->batch_flushed);
	mutex_destroy(&c->lock);
	free(c->path);
	free(c);
}

const char *cache_path(const struct cache *c)
{
	return c->path;
}

int cache_dirfd(const struct cache *c)
{
	return c->dirfd;
}
