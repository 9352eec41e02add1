#include "fs/trial.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/log.h"
#include "fs/attach.h"
#include "fs/open.h"

/*
 * The mount.
 */

/* The kernel's list has mounts by their real names. Heap. */
static char *make_folder(struct error **errp)
{
	const char *tmp = getenv("TMPDIR");
	cleanup_free char *name = xasprintf("%s/mopsfs-doctor-XXXXXX",
					    tmp && *tmp == '/' ? tmp : "/tmp");
	char *path = mkdtemp(name) ? realpath(name, NULL) : NULL;

	if (!path)
		error_set_errno(errp, errno, "making '%s'", name);
	return path;
}

/* With io=passthrough the mount says why that cannot be. */
static int agree(struct mount *m, struct trial *ret, struct error **errp)
{
	cleanup_error struct error *err = NULL;
	int r = attach_serve_init(m, &err);

	if (r < 0 && r != -EOPNOTSUPP)
		return error_propagate(errp, &err, r);
	ret->resends = handover_can_resend(m->handover->table);
	if (r < 0) {
		struct opens_report report;

		opens_get_report(m->opens, &report);
		ret->no_passthrough = report.why;
	}
	return 0;
}

/* Of root's mount nothing stays when this process is killed: it is in a world
 * of its own, as far as that can be had. */
static void go_apart(void)
{
	if (geteuid() == 0 && unshare(CLONE_NEWNS) == 0)
		(void)mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

/* Nobody has to be served to end it: the device is closed first. */
static int mount_and_end(struct mount *m, struct trial *ret,
			 struct error **errp)
{
	int r = attach_open(m, errp);

	if (r < 0)
		return r;
	r = attach_mount(m, errp);
	if (r == 0) {
		r = agree(m, ret, errp);
		fuse_session_unmount(m->se);
	}
	fuse_session_destroy(m->se);
	return r;
}

int trial_mount(struct trial *ret, struct error **errp)
{
	struct mount_options options = MOUNT_OPTIONS_DEFAULT;
	cleanup_free char *folder = make_folder(errp);
	struct handover h;
	struct mount m = {
		.mountpoint = folder, .options = &options, .handover = &h};
	int r;

	*ret = (struct trial){0};
	if (!folder)
		return -EIO;
	go_apart();
	options.io = IO_PASSTHROUGH;
	options.fsname = "mopsfs-doctor";
	r = handover_make(&h, errp);
	if (r == 0) {
		m.opens = opens_new(&m);
		r = mount_and_end(&m, ret, errp);
		opens_free(m.opens);
		munmap(h.table, sizeof(*h.table));
	}
	closep(&h.device);
	closep(&h.memory);
	rmdir(folder);
	return r;
}

/*
 * The sandbox, which nobody leaves again.
 */

static void __attribute__((noreturn))
confine_and_say(const struct settings *settings, int out)
{
	const struct sandbox_rules rules = {.settings = settings,
					    .cache = settings->cache_dir};
	struct sandbox_state state = {0};
	const char *lacks;

	log_set_level(LOG_LEVEL_ERROR);
	sandbox_enter(&rules, &state);
	lacks = state.lacks ? state.lacks : "";
	/* All, or it does not count. */
	_exit(io_write_full(out, lacks, strlen(lacks)) < 0);
}

int trial_sandbox(const struct settings *settings, char **ret,
		  struct error **errp)
{
	cleanup_fd int said = memfd_create("sandbox", MFD_CLOEXEC);
	cleanup_free char *lacks = NULL;
	int status = 0;
	pid_t pid;

	if (said < 0)
		return error_set_errno(errp, errno, "shared memory");
	pid = fork();
	if (pid == 0)
		confine_and_say(settings, said);
	if (pid < 0)
		return error_set_errno(errp, errno, "starting a process");
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return error_set_errno(errp, errno, "waiting");
	if (status != 0)
		return error_set(errp, EIO,
				 "a process that confined itself ended badly");
	lacks = io_last_line(said);
	*ret = *lacks ? steal_ptr(&lacks) : NULL;
	return 0;
}
