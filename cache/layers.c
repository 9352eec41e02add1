#include "cache/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/io.h"
#include "cache/internal.h"

/* tmp/<random> is as deep as layers/<hex>: links made there stay right. */
#define TO_BLOBS "../../blobs/"

static bool layer_exists(struct cache *c, const char *hex)
{
	struct stat st;

	return fstatat(c->room[ROOM_LAYERS], hex, &st, AT_SYMLINK_NOFOLLOW) ==
		       0 &&
	       S_ISDIR(st.st_mode);
}

static int layer_rename(struct cache *c, const char *tmp, const char *hex)
{
	int r = renameat2(c->room[ROOM_TMP], tmp, c->room[ROOM_LAYERS], hex,
			  RENAME_NOREPLACE) < 0
			? -errno
			: 0;

	/* A plain rename of a folder replaces only an empty one. */
	if (r == -EINVAL &&
	    renameat(c->room[ROOM_TMP], tmp, c->room[ROOM_LAYERS], hex) == 0)
		return 0;
	if ((r == -EEXIST || r == -EINVAL) && layer_exists(c, hex)) {
		io_remove_tree(c->room[ROOM_TMP], tmp);
		return 0;
	}
	return r;
}

static int layer_fill(struct cache *c, const char *tmp,
		      int (*fill)(void *ctx, int dirfd, const char *to_blobs,
				  struct error **errp),
		      void *ctx, struct error **errp)
{
	cleanup_fd int fd = -1;

	if (mkdirat(c->room[ROOM_TMP], tmp, 0700) < 0)
		return error_set_errno(errp, errno, "cannot make '%s/tmp/%s'",
				       c->path, tmp);
	fd = io_open_beneath(c->room[ROOM_TMP], tmp, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return error_set_errno(errp, -fd, "cannot open '%s/tmp/%s'",
				       c->path, tmp);
	return fill(ctx, fd, TO_BLOBS, errp);
}

int cache_layer_build(struct cache *c, const struct digest *layer_tree,
		      int (*fill)(void *ctx, int dirfd, const char *to_blobs,
				  struct error **errp),
		      void *ctx, struct error **errp)
{
	struct digest_hex hex = digest_to_hex(layer_tree);
	char tmp[RANDOM_NAME_SIZE];
	int r;

	if (layer_exists(c, hex.str))
		return 0;
	random_name(tmp);
	r = layer_fill(c, tmp, fill, ctx, errp);
	if (r < 0) {
		io_remove_tree(c->room[ROOM_TMP], tmp);
		return error_prefix(errp, r, "building layer '%s'", hex.str);
	}
	r = layer_rename(c, tmp, hex.str);
	if (r < 0) {
		io_remove_tree(c->room[ROOM_TMP], tmp);
		return error_set_errno(errp, -r, "cannot place layer '%s'",
				       hex.str);
	}
	return 0;
}
