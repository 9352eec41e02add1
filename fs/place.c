#include "fs/place.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "fs/mountinfo.h"
#include "fs/pulse.h"
#include "fs/unmount.h"

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Is @at, or a folder above it, the one of @place? */
static bool is_above(int at, const struct stat *place)
{
	cleanup_fd int fd = openat(at, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat here, above;

	while (fd >= 0 && fstat(fd, &here) == 0) {
		int up;

		if (same_file(&here, place))
			return true;
		up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		closep(&fd);
		fd = up;
		if (fd < 0 || fstat(fd, &above) < 0 || same_file(&here, &above))
			return false;
	}
	return false;
}

/* The folder @path, or the nearest one above it that exists. */
static int open_nearest(const char *path)
{
	cleanup_free char *p = xstrdup(path);

	for (;;) {
		int fd = open(p, O_PATH | O_DIRECTORY | O_CLOEXEC);
		char *slash = strrchr(p, '/');

		if (fd >= 0)
			return fd;
		if (!slash)
			return open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (slash == p)
			return open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		*slash = '\0';
	}
}

static int check_needed(const char *dir, const struct stat *place,
			const char *const *needed, struct error **errp)
{
	for (; *needed; needed++) {
		cleanup_fd int fd = open_nearest(*needed);

		if (fd >= 0 && is_above(fd, place)) {
			error_set(errp, EINVAL,
				  "mounting on '%s' would cover '%s', which "
				  "mopsfs needs",
				  dir, *needed);
			return error_hint(errp, -EINVAL,
					  "mount on an empty folder");
		}
	}
	return 0;
}

static int refuse_second(const char *dir, struct error **errp)
{
	cleanup_mount_list struct mount_list mounts = {0};
	const struct mount_entry *e;

	if (mount_list_read(&mounts) < 0)
		return 0;
	e = mount_list_top(&mounts, dir);
	if (!e || !mount_entry_is_ours(e))
		return 0;
	error_set(errp, EINVAL, "'%s' is mounted already: %s", dir, e->source);
	return error_hint(errp, -EINVAL, "'mopsfs umount' ends it");
}

/* A worker that was killed leaves a dead mount, until the next one serves,
 * or its supervisor gives up; for ever when that was killed, too. */
static int recover(const char *dir, struct error **errp)
{
	cleanup_error struct error *err = NULL;
	int r;

	if (!mount_is_dead(dir))
		return 0;
	r = unmount_at(dir, true, &err);
	if (r < 0 && !mount_is_dead(dir))
		return 0; /* its supervisor was faster */
	return error_propagate(errp, &err, r);
}

int place_check(const char *dir, const char *const *needed, struct error **errp)
{
	cleanup_fd int fd = -1;
	struct stat st;
	int r = recover(dir, errp);

	if (r == 0)
		r = refuse_second(dir, errp);
	if (r < 0)
		return error_kind(errp, r, ERROR_VALIDATION);
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_kind(errp,
				  error_set_errno(errp, errno,
						  "mountpoint '%s'", dir),
				  ERROR_VALIDATION);
	return check_needed(dir, &st, needed, errp);
}
