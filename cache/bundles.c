#include "cache/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "cache/internal.h"

/* A symlink with this target, whatever was there. */
static int point_to(int dirfd, const char *name, const char *target)
{
	char old[PATH_MAX];
	ssize_t n;

	if (symlinkat(target, dirfd, name) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	n = readlinkat(dirfd, name, old, sizeof(old));
	if (n == (ssize_t)strlen(target) && !memcmp(old, target, (size_t)n))
		return 0;
	if (io_remove_tree(dirfd, name) < 0 ||
	    symlinkat(target, dirfd, name) < 0)
		return errno == EEXIST ? 0 : -errno;
	return 0;
}

static int point_to_blob(int dirfd, const char *name, const struct digest *d)
{
	cleanup_free char *target =
		xasprintf("../../blobs/sha256/%s", shard_name(d).str);

	return point_to(dirfd, name, target);
}

static int point_to_layers(int dirfd, const struct digest *trees, size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		struct digest_hex hex = digest_to_hex(&trees[i]);
		cleanup_free char *name = xasprintf("layers/%s", hex.str);
		cleanup_free char *to =
			xasprintf("../../../layers/%s", hex.str);

		r = point_to(dirfd, name, to);
	}
	return r;
}

static int bundle_open(struct cache *c, const char *hex, int *ret)
{
	cleanup_free char *layers = xasprintf("%s/layers", hex);
	int r = io_mkdirs_beneath(c->room[ROOM_BUNDLES], layers, 0700);

	if (r < 0)
		return r;
	*ret = io_open_beneath(c->room[ROOM_BUNDLES], hex,
			       O_RDONLY | O_DIRECTORY, 0);
	return *ret < 0 ? *ret : 0;
}

int cache_bundle_record(struct cache *c, const struct digest *manifest,
			const struct digest *root,
			const struct digest *layer_trees, size_t n_layers,
			struct error **errp)
{
	struct digest_hex hex = digest_to_hex(manifest);
	cleanup_fd int dirfd = -1;
	int r = batch_flush(c); /* its content before itself */

	if (r == 0)
		r = bundle_open(c, hex.str, &dirfd);
	if (r == 0)
		r = point_to_blob(dirfd, "root", root);
	if (r == 0)
		r = point_to_layers(dirfd, layer_trees, n_layers);
	if (r == 0)
		r = point_to_blob(dirfd, "manifest", manifest);
	if (r == 0)
		r = io_fsync_dir(dirfd);
	if (r < 0)
		return error_set_errno(errp, -r, "cannot record bundle '%s'",
				       hex.str);
	cache_bundle_touch(c, manifest);
	return 0;
}

void cache_bundle_touch(struct cache *c, const struct digest *manifest)
{
	cleanup_free char *used =
		xasprintf("%s/used", digest_to_hex(manifest).str);
	cleanup_fd int fd =
		openat(c->room[ROOM_BUNDLES], used,
		       O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
		       0600);

	if (fd >= 0)
		(void)futimens(fd, NULL);
}
