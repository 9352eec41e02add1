#include "cache/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int walk_dir(int parent, const char *name, DIR **ret)
{
	int fd = openat(parent, name,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d;

	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d) {
		int r = -errno;

		close(fd);
		return r;
	}
	*ret = d;
	return 0;
}

int shard_walk(struct cache *c, enum cache_room room, const char *shard,
	       room_walk_fn *fn, void *ctx)
{
	cleanup_dir DIR *d = NULL;
	struct dirent *e;
	int r = walk_dir(c->room[room], shard, &d);

	while (r == 0 && d && (e = readdir(d))) {
		char name[3 + NAME_MAX + 1];
		struct stat st;

		if (e->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", shard, e->d_name);
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			r = fn(ctx, name, e->d_name, &st);
	}
	/* Removed while we walk: nothing to see. */
	return r == -ENOENT || r == -ENOTDIR ? 0 : r;
}

int room_walk(struct cache *c, enum cache_room room, room_walk_fn *fn,
	      void *ctx)
{
	cleanup_dir DIR *d = NULL;
	struct dirent *e;
	int r = walk_dir(c->room[room], ".", &d);

	while (r == 0 && d && (e = readdir(d)))
		if (strlen(e->d_name) == 2 && e->d_name[0] != '.')
			r = shard_walk(c, room, e->d_name, fn, ctx);
	return r;
}

int dir_each(int dirfd, int (*fn)(void *ctx, int dirfd, const char *name),
	     void *ctx)
{
	cleanup_dir DIR *d = NULL;
	struct dirent *e;
	int r = walk_dir(dirfd, ".", &d);

	while (r == 0 && d && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			r = fn(ctx, dirfd, e->d_name);
	return r;
}
