#include "cache/gc_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/time.h"

struct sweep {
	int64_t age_s;
	bool dry_run;
	uint64_t removed;
};

static int sweep_old(void *ctx, int dirfd, const char *name)
{
	struct sweep *s = ctx;
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	/* By ctime: a copied mtime can be of any age. */
	if (time_wall_s() - st.st_ctime < s->age_s)
		return 0;
	if (s->dry_run || io_remove_tree(dirfd, name) >= 0)
		s->removed++;
	return 0;
}

#define DRAFT_AGE_S 86400

/* What a kill left of io_write_file_atomic(); by mtime, as nobody copies one
 * to it. */
static int sweep_draft(void *ctx, int dirfd, const char *name)
{
	struct sweep *s = ctx;
	struct stat st;

	if (strncmp(name, IO_DRAFT_PREFIX, strlen(IO_DRAFT_PREFIX)) != 0 ||
	    fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !S_ISREG(st.st_mode) || time_wall_s() - st.st_mtime < s->age_s)
		return 0;
	if (s->dry_run || unlinkat(dirfd, name, 0) == 0)
		s->removed++;
	return 0;
}

uint64_t gc_leftovers(struct cache *c, bool dry_run)
{
	struct sweep drafts = {.age_s = DRAFT_AGE_S, .dry_run = dry_run};
	static const struct {
		enum cache_room room;
		int64_t age_s;
	} rooms[] = {
		{ROOM_TMP, 86400},
		{ROOM_TRASH, 3600},
		{ROOM_QUARANTINE, 7 * 86400},
		{ROOM_HASHES, 90 * 86400},
	};
	uint64_t removed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rooms); i++) {
		struct sweep s = {.age_s = rooms[i].age_s, .dry_run = dry_run};

		(void)dir_each(c->room[rooms[i].room], sweep_old, &s);
		removed += s.removed;
	}
	(void)dir_each(c->room[ROOM_REFS], sweep_draft, &drafts);
	(void)dir_each(c->dirfd, sweep_draft, &drafts);
	return removed + drafts.removed;
}

struct layers {
	struct cache *c;
	const struct digest_set *needed;
	bool dry_run;
	uint64_t removed;
};

static int sweep_layer(void *ctx, int dirfd, const char *name)
{
	struct layers *l = ctx;
	char tmp[RANDOM_NAME_SIZE];
	struct digest d;

	if (digest_parse_hex(name, strlen(name), &d, NULL) == 0 &&
	    digest_set_has(l->needed, &d))
		return 0;
	l->removed++;
	if (l->dry_run)
		return 0;
	/* Out of sight first: nobody meets half a folder. */
	random_name(tmp);
	if (renameat(dirfd, name, l->c->room[ROOM_TRASH], tmp) == 0)
		(void)io_remove_tree(l->c->room[ROOM_TRASH], tmp);
	return 0;
}

uint64_t gc_layers(struct cache *c, const struct digest_set *needed,
		   bool dry_run)
{
	struct layers l = {.c = c, .needed = needed, .dry_run = dry_run};

	(void)dir_each(c->room[ROOM_LAYERS], sweep_layer, &l);
	return l.removed;
}

static int sweep_bundle(void *ctx, int dirfd, const char *name)
{
	struct layers *l = ctx;
	struct shard_name blob;
	struct digest d;

	if (digest_parse_hex(name, strlen(name), &d, NULL) < 0 ||
	    digest_set_has(l->needed, &d))
		return 0;
	blob = shard_name(&d);
	if (faccessat(l->c->room[ROOM_BLOBS], blob.str, F_OK,
		      AT_SYMLINK_NOFOLLOW) < 0 &&
	    errno == ENOENT)
		(void)io_remove_tree(dirfd, name);
	return 0;
}

void gc_bundles(struct cache *c, const struct digest_set *needed)
{
	struct layers l = {.c = c, .needed = needed};

	(void)dir_each(c->room[ROOM_BUNDLES], sweep_bundle, &l);
}
