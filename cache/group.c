/*
 * A folder that a group shares: <folder>/<user id>/ is each member's cache,
 * which the others read as an alternate. So a member can offer wrong bytes,
 * which are noticed, and take away what is his, and has no other way to touch
 * what somebody else relies on: no common index, partial, lock or name.
 */
#include "cache/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "cache/internal.h"

#define UID_NAME_SIZE 16

static int hint_how(struct error **errp, int r, const char *dir)
{
	return error_hint(errp, r,
			  "an administrator makes one with: "
			  "install -d -m 3770 -g GROUP '%s'",
			  dir);
}

/*
 * Whoever may rename what is in the folder may put another cache in the place
 * of ours between two uses; the sticky bit leaves that to the folder's owner.
 */
static int check_folder(const char *dir, const struct stat *st,
			struct error **errp)
{
	int r = 0;

	if (st->st_uid != 0 && st->st_uid != geteuid())
		r = error_set_kind(errp, ERROR_VALIDATION, EACCES,
				   "shared cache folder '%s' belongs to user "
				   "%u",
				   dir, (unsigned)st->st_uid);
	else if (st->st_mode & (S_IWGRP | S_IWOTH) && !(st->st_mode & S_ISVTX))
		r = error_set_kind(errp, ERROR_VALIDATION, EACCES,
				   "members of the group can replace each "
				   "other's folders in '%s'",
				   dir);
	return r < 0 ? hint_how(errp, r, dir) : 0;
}

static int open_folder(const char *dir, struct stat *ret_st,
		       struct error **errp)
{
	cleanup_fd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0) {
		r = error_set_errno(errp, errno,
				    "cannot open shared cache folder '%s'",
				    dir);
		return r == -ENOENT ? hint_how(errp, r, dir) : r;
	}
	if (fstat(fd, ret_st) < 0)
		return error_set_errno(errp, errno, "'%s'", dir);
	r = check_folder(dir, ret_st, errp);
	return r < 0 ? r : steal_fd(&fd);
}

/* Ours, for the group to read and for nobody else to write. */
static int make_own(int dirfd, const struct stat *folder, const char *name)
{
	bool made = mkdirat(dirfd, name, 0700) == 0;
	cleanup_fd int fd = -1;
	struct stat st;

	if (!made && errno != EEXIST)
		return -errno;
	fd = io_open_same_mount(dirfd, name, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != geteuid())
		return -EACCES;
	if (!made)
		return 0;
	if (st.st_gid != folder->st_gid &&
	    fchown(fd, (uid_t)-1, folder->st_gid) < 0)
		return -errno;
	return fchmod(fd, S_ISGID | 0750) < 0 ? -errno : 0;
}

/* Each user counts once, whatever else he makes there. */
static int add_sibling(void *ctx, int dirfd, const char *name)
{
	struct cache *c = ctx;
	cleanup_fd int fd =
		io_open_same_mount(dirfd, name, O_RDONLY | O_DIRECTORY);
	char owner[UID_NAME_SIZE];
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_uid == geteuid())
		return 0;
	snprintf(owner, sizeof(owner), "%u", (unsigned)st.st_uid);
	if (strcmp(owner, name) != 0)
		return 0;
	if (alternate_add(c, fd) != -ENOBUFS)
		return 0;
	log_debug("cache: more than %d other members have one", ALTERNATES_MAX);
	return 1;
}

int cache_open_group(const char *dir, struct cache **ret, struct error **errp)
{
	cleanup_cache struct cache *c = NULL;
	cleanup_free char *own = NULL;
	char name[UID_NAME_SIZE];
	struct stat st = {0};
	cleanup_fd int fd = open_folder(dir, &st, errp);
	int r;

	if (fd < 0)
		return fd;
	snprintf(name, sizeof(name), "%u", (unsigned)geteuid());
	own = xasprintf("%s/%s", dir, name);
	r = make_own(fd, &st, name);
	if (r == -EACCES || r == -ELOOP || r == -ENOTDIR) {
		r = error_set_kind(errp, ERROR_VALIDATION, EACCES,
				   "'%s' is not this user's", own);
		return error_hint(errp, r,
				  "an administrator removes it, or gives this "
				  "user the right to make it");
	}
	if (r < 0)
		return error_set_errno(errp, -r, "cannot make '%s'", own);
	r = cache_open(own, &c, errp);
	if (r < 0)
		return r;
	(void)dir_each(fd, add_sibling, c);
	*ret = steal_ptr(&c);
	return 0;
}
