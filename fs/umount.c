/* mopsfs umount */
#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/json.h"
#include "fs/control.h"
#include "fs/mountinfo.h"
#include "fs/unmount.h"
#include "fs/verbs.h"

/* How long the processes of a mount get to end after it is gone. */
#define END_MS 10000

const struct arg_option umount_verb_options[] = {
	{"lazy", 'l', NULL, false,
	 "detach a mount that is in use; it ends with its last user"},
	{NULL},
};

/* A handle on the supervisor of the mount at @dir, which ends last, or -1. */
static int open_supervisor(const char *dir)
{
	cleanup_mount_list struct mount_list mounts = {0};
	cleanup_strbuf struct strbuf status = STRBUF_INIT;
	cleanup_json struct json *j = NULL;
	const struct mount_entry *e;
	int64_t pid = 0;

	if (mount_list_read(&mounts) < 0)
		return -1;
	e = mount_list_top(&mounts, dir);
	if (!e ||
	    control_ask(e->major, e->minor, "status", CONTROL_PATIENCE_S,
			&status) < 0 ||
	    json_parse(status.buf, status.len, &JSON_LIMITS_DOC, &j, NULL) <
		    0 ||
	    json_int(json_get(j, "supervisor_pid"), &pid) < 0 || pid <= 1)
		return -1;
	return (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
}

int verb_umount(struct cli *cli, struct error **errp)
{
	cleanup_free char *dir = mountpoint_path(cli->args[0]);
	bool lazy = cli_has(cli, "lazy");
	cleanup_fd int supervisor = -1;
	int r;

	if (!dir)
		return error_kind(errp,
				  error_set_errno(errp, errno, "'%s'",
						  cli->args[0]),
				  ERROR_VALIDATION);
	supervisor = open_supervisor(dir);
	r = unmount_at(dir, lazy, errp);
	if (r < 0)
		return r;
	/* The cache is at rest when this command has ended. */
	if (supervisor >= 0 && !lazy)
		poll(&(struct pollfd){.fd = supervisor, .events = POLLIN}, 1,
		     END_MS);
	return 0;
}
