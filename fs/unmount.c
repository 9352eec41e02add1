#include "fs/unmount.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "fs/mountinfo.h"

/* The setuid tool of libfuse. Returns 0, -EBUSY when it refused, or -errno
 * when it could not be run. */
static int run_fusermount(const char *dir, bool lazy)
{
	const char *argv[] = {"fusermount3", "-u", "-q", lazy ? "-z" : "-q",
			      "--",          dir,  NULL};
	posix_spawn_file_actions_t actions;
	int status, r;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	for (int fd = 0; fd <= 2; fd++)
		posix_spawn_file_actions_addopen(&actions, fd, "/dev/null",
						 O_RDWR, 0);
	r = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)argv,
			 environ);
	posix_spawn_file_actions_destroy(&actions);
	if (r)
		return -r;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EBUSY;
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
	int r = check_ours(dir, errp);

	if (r < 0)
		return r;
	r = umount2(dir, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) < 0 ? -errno
									: 0;
	if (r == -EPERM)
		r = run_fusermount(dir, lazy);
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
