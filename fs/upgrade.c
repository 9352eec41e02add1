/* mopsfs upgrade */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "cli/output.h"
#include "fs/control.h"
#include "fs/mountinfo.h"
#include "fs/verbs.h"

/* More than the supervisor gives a program to begin. */
#define PATIENCE_S 90

/* This very program, by the name that it has now. */
static int own_path(char *ret, size_t size, struct error **errp)
{
	ssize_t n = readlink("/proc/self/exe", ret, size - 1);

	if (n < 0)
		return error_set_errno(errp, errno, "finding this program");
	ret[n] = '\0';
	if (access(ret, X_OK) < 0)
		return error_set_errno(errp, errno, "this program, '%s'", ret);
	return 0;
}

static int ask(const struct mount_entry *e, const char *program,
	       struct error **errp)
{
	cleanup_free char *what = xasprintf("upgrade %s", program);
	cleanup_strbuf struct strbuf answer = STRBUF_INIT;
	int r = control_ask(e->major, e->minor, what, PATIENCE_S, &answer);

	if (r < 0)
		return error_set_errno(errp, -r, "asking the mount on '%s'",
				       e->dir);
	answer.buf[strcspn(answer.buf, "\n")] = '\0';
	if (!strcmp(answer.buf, "done"))
		return 0;
	error_set(errp, EIO, "'%s' is not upgraded: %s", e->dir,
		  strncmp(answer.buf, "failed ", 7) ? answer.buf
						    : answer.buf + 7);
	return error_hint(errp, -EIO, "it goes on with the program it had");
}

int verb_upgrade(struct cli *cli, struct error **errp)
{
	cleanup_mount_list struct mount_list mounts = {0};
	const struct mount_entry *e;
	char program[1000];
	int r = mount_list_find_ours(cli->args[0], &mounts, &e, errp);

	if (r < 0)
		return r;
	r = own_path(program, sizeof(program), errp);
	return r < 0 ? r : ask(e, program, errp);
}
