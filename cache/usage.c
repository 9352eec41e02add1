/* What the cache holds. */
#include <string.h>

#include "cache/internal.h"

static int use_blob(void *ctx, const char *name, const char *base,
		    const struct stat *st)
{
	struct cache_usage *u = ctx;

	u->blobs++;
	u->blob_bytes += (uint64_t)st->st_blocks * 512;
	return 0;
}

static int use_partial(void *ctx, const char *name, const char *base,
		       const struct stat *st)
{
	struct cache_usage *u = ctx;
	const char *dot = strrchr(base, '.');

	u->partials += dot && !strcmp(dot, ".part");
	u->partial_bytes += (uint64_t)st->st_blocks * 512;
	return 0;
}

int cache_usage(struct cache *c, struct cache_usage *ret, struct error **errp)
{
	struct cache_usage u = {0};
	int r = room_walk(c, ROOM_BLOBS, use_blob, &u);

	if (r == 0)
		r = room_walk(c, ROOM_PARTIAL, use_partial, &u);
	if (r < 0)
		return error_set_errno(errp, -r, "cannot look at cache '%s'",
				       c->path);
	*ret = u;
	return 0;
}
