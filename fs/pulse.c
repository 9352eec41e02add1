#include "fs/pulse.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/strbuf.h"
#include "base/time.h"
#include "fs/control.h"

#define ANSWER_S 2
#define SLICE_MS 10

/* A request that was under way when the worker died is "aborted". */
static bool says_dead(int code)
{
	return code == ENOTCONN || code == ECONNABORTED;
}

/* statfs() is always asked of the worker, so that a dead one shows; stat() of
 * the top may be answered from what the kernel remembers. */
bool mount_is_dead(const char *dir)
{
	struct statfs st;

	return statfs(dir, &st) < 0 && says_dead(errno);
}

/* To all others the kernel says that it is well, and asks nobody. */
static bool may_ask(const struct mount_entry *e)
{
	cleanup_free char *own = xasprintf("user_id=%u", (unsigned)geteuid());

	return mount_option_has(e->super, own) ||
	       mount_option_has(e->super, "allow_other");
}

static enum pulse look(const struct mount_entry *e)
{
	cleanup_strbuf struct strbuf answer = STRBUF_INIT;
	struct statfs st;

	if (control_ask(e->major, e->minor, "status", ANSWER_S, &answer) == 0)
		return PULSE_ALIVE;
	if (!may_ask(e))
		return PULSE_FOREIGN;
	if (statfs(e->dir, &st) == 0)
		return PULSE_ALIVE;
	return says_dead(errno) ? PULSE_DEAD : PULSE_FOREIGN;
}

/* By a process that can be left behind: one that waits for a worker which took
 * its request and hangs does not even die of SIGKILL. */
pid_t pulse_begin(const struct mount_entry *e)
{
	pid_t pid = fork();

	if (pid == 0) {
		/* Nobody is to wait for what it would hold open. */
		close_range(0, UINT_MAX, 0);
		_exit((int)look(e));
	}
	return pid;
}

enum pulse pulse_end(pid_t pid, const struct op *op)
{
	int status;

	while (pid > 0) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status)
				       ? (enum pulse)WEXITSTATUS(status)
				       : PULSE_UNKNOWN;
		if (op_go_on(op, NULL) < 0)
			break;
		time_sleep_ms(SLICE_MS);
	}
	if (pid <= 0)
		return PULSE_UNKNOWN;
	kill(pid, SIGKILL);
	return PULSE_HANGS;
}
