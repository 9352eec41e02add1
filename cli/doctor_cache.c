/* doctor: the cache's folder and its disk. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "cache/ability.h"
#include "cli/doctor.h"
#include "cli/output.h"

#define FEW_BYTES (UINT64_C(1) << 30)
#define FEW_FILES 10000u

static const char *const make_room =
	"'mops cache gc --max-size SIZE' makes room; cache_dir or "
	"MOPS_CACHE_DIR names a folder on another disk";

static void say_written(const struct cache_abilities *a, struct checks *k)
{
	if (a->writes == -EROFS)
		check_bad(k, CHECK_WARNING, "cache.write",
			  "mount it writable, or name another folder with "
			  "cache_dir",
			  "the disk is read-only: what is cached is served, "
			  "nothing is added");
	else if (a->writes < 0)
		check_bad(k, CHECK_FAILED, "cache.write", make_room,
			  "a file of 4 KiB cannot be written: %s",
			  strerror(-a->writes));
	else
		check_ok(k, "cache.write", "files can be written");
}

static void say_space(const struct cache_abilities *a,
		      const struct settings *set, struct checks *k)
{
	uint64_t wanted = MAX(set->cache_min_free, FEW_BYTES);
	struct size_text have = output_size(a->free_bytes);

	if (a->free_bytes < wanted)
		check_bad(k, CHECK_WARNING, "cache.space", make_room,
			  "%s are free, less than %s", have.str,
			  output_size(wanted).str);
	else
		check_ok(k, "cache.space", "%s are free", have.str);
	if (!a->counts_files)
		check_ok(k, "cache.inodes", "files are not counted there");
	else if (a->free_files < FEW_FILES)
		check_bad(k, CHECK_WARNING, "cache.inodes", make_room,
			  "%" PRIu64 " inodes are free", a->free_files);
	else
		check_ok(k, "cache.inodes", "%" PRIu64 " are free",
			 a->free_files);
}

static void say_links(const struct cache_abilities *a, struct checks *k)
{
	if (a->reflinks)
		check_ok(k, "cache.reflink",
			 "files are cloned without being copied");
	else
		check_bad(k, CHECK_NOTE, "cache.reflink",
			  "put the cache on btrfs, or on xfs with reflink=1",
			  "none: 'materialize' links or copies");
	if (a->hardlinks)
		check_ok(k, "cache.hardlink", "files can have two names");
	else
		check_bad(k, CHECK_NOTE, "cache.hardlink",
			  "put the cache on a disk with hardlinks",
			  "none: 'materialize' copies");
	if (a->verity)
		check_ok(k, "cache.verity",
			 "fs-verity can be had; mops does not use it");
	else
		check_ok(k, "cache.verity",
			 "no fs-verity; mops does not use it");
}

static void say_locks(const struct cache_abilities *a, struct checks *k)
{
	if (a->locks)
		check_ok(k, "cache.locks", "locks hold");
	else
		check_bad(k, CHECK_WARNING, "cache.locks",
			  "put the cache on a disk of this machine with "
			  "cache_dir",
			  "locks may be granted to everyone there: nothing "
			  "is hardlinked, passed through or shared while it "
			  "is fetched");
}

/* One that is not there is done without, and nobody is told. */
static void say_alternates(const struct settings *set, struct checks *k)
{
	for (char **dir = set->cache_alternates; dir && *dir; dir++)
		if (access(*dir, R_OK | X_OK) == 0)
			check_ok(k, "cache.alternate", "'%s' can be read",
				 *dir);
		else
			check_bad(k, CHECK_WARNING, "cache.alternate",
				  "mount it, or take it out of "
				  "cache_alternates",
				  "'%s' is done without: %s", *dir,
				  strerror(errno));
}

void doctor_cache(struct run *run, struct checks *k)
{
	const struct settings *set = &run->cli->settings;
	cleanup_error struct error *err = NULL;
	struct cache_abilities a;
	struct cache *c;

	if (session_cache(run->session, &c, &err) < 0 ||
	    cache_probe(c, &a, &err) < 0) {
		check_error(k, "cache.folder", err,
			    "name a folder that you can write to with "
			    "cache_dir or MOPS_CACHE_DIR");
		return;
	}
	check_ok(k, "cache.folder", "'%s', which others cannot write to",
		 cache_path(c));
	say_written(&a, k);
	say_space(&a, set, k);
	if (a.writes == 0)
		say_links(&a, k);
	say_locks(&a, k);
	say_alternates(set, k);
}
