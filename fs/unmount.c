#include "fs/unmount.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"

/* The setuid tool of libfuse. -EBUSY the mount is in use; -EIO another reason,
 * which it told; else -errno when it could not be run. */
static int run_fusermount(const char *dir, bool lazy, struct error **errp)
{
	const char *argv[] = {"fusermount3", lazy ? "-uz" : "-u", "--", dir,
			      NULL};
	cleanup_fd int said = memfd_create("stderr", MFD_CLOEXEC);
	posix_spawn_file_actions_t actions;
	cleanup_free char *why = NULL;
	int status, r;
	pid_t pid;

	if (said < 0)
		return -errno;
	posix_spawn_file_actions_init(&actions);
	for (int fd = 0; fd <= 1; fd++)
		posix_spawn_file_actions_addopen(&actions, fd, "/dev/null",
						 O_RDWR, 0);
	posix_spawn_file_actions_adddup2(&actions, said, 2);
	r = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)argv,
			 environ);
	posix_spawn_file_actions_destroy(&actions);
	if (r)
		return -r;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	why = io_last_line(said);
	if (strcasestr(why, "busy"))
		return -EBUSY;
	return error_set(errp, EIO, "unmounting '%s': %s", dir,
			 *why ? why : "fusermount3 failed");
}

static int check_ours(const char *dir, struct error **errp)
{
	cleanup_mount_list struct mount_list mounts = {0};
	const struct mount_entry *e;
	int r = mount_list_read(&mounts);

	if (r < 0)
		return error_set_errno(errp, -r, "reading the list of mounts");
	e = mount_list_top(&mounts, dir);
	if (!e || !mount_entry_is_ours(e))
		return error_set(errp, EINVAL, "'%s' is not a mount of mopsfs",
				 dir);
	return 0;
}

int unmount_at(const char *dir, bool lazy, struct error **errp)
{
	cleanup_error struct error *err = NULL;
	int r = check_ours(dir, errp);

	if (r < 0)
		return r;
	r = umount2(dir, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) < 0 ? -errno
									: 0;
	if (r == -EPERM)
		r = run_fusermount(dir, lazy, &err);
	if (err)
		return error_propagate(errp, &err, r);
	if (r == -EBUSY) {
		error_set(errp, EBUSY, "'%s' is in use", dir);
		return error_hint(errp, r,
				  "'mopsfs umount --lazy' detaches it now and "
				  "ends it when the last user is gone");
	}
	if (r < 0)
		return error_set_errno(errp, -r, "unmounting '%s'", dir);
	return 0;
}

void unmount_abort(const char *dir, const struct mount_identity *own)
{
	struct mount_identity there;

	if (mount_identify(dir, &there) == 0 &&
	    mount_identity_equal(&there, own))
		umount2(dir, MNT_FORCE | UMOUNT_NOFOLLOW);
}

int unmount_own(const char *dir, const struct mount_identity *own)
{
	int r = 0;

	for (int lazy = 0; lazy <= 1; lazy++) {
		struct mount_identity there;

		r = mount_identify(dir, &there);
		if (r == -ENOENT ||
		    (r == 0 && !mount_identity_equal(&there, own)))
			return 0;
		if (r < 0)
			return r;
		r = unmount_at(dir, lazy, NULL);
		if (r == 0)
			return lazy;
	}
	return r;
}
