#include "fs/pulse.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "base/time.h"
#include "fs/control.h"

#define PATIENCE_S 2
#define SLICE_MS   10

/* statfs() is always asked of the worker, so that a dead one shows; stat() of
 * the top may be answered from what the kernel remembers. A request that was
 * under way when the worker died is "aborted". */
bool mount_is_dead(const char *dir)
{
	struct statfs st;

	return statfs(dir, &st) < 0 &&
	       (errno == ENOTCONN || errno == ECONNABORTED);
}

static enum pulse look(const char *dir)
{
	struct statfs st;

	if (statfs(dir, &st) == 0)
		return PULSE_ALIVE;
	return errno == ENOTCONN || errno == ECONNABORTED ? PULSE_DEAD
							  : PULSE_FOREIGN;
}

/* By a process that can be left behind: one that waits for a worker which took
 * its request and hangs does not even die of SIGKILL. */
static enum pulse look_with_patience(const char *dir)
{
	int64_t end = time_deadline_ms(PATIENCE_S * 1000);
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		/* Nobody is to wait for what it would hold open. */
		close_range(0, UINT_MAX, 0);
		_exit((int)look(dir));
	}
	while (pid > 0 && time_mono_ns() < end) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status)
				       ? (enum pulse)WEXITSTATUS(status)
				       : PULSE_HANGS;
		time_sleep_ms(SLICE_MS);
	}
	if (pid > 0)
		kill(pid, SIGKILL);
	return PULSE_HANGS;
}

enum pulse mount_pulse(const struct mount_entry *e)
{
	cleanup_strbuf struct strbuf answer = STRBUF_INIT;

	if (control_ask(e->major, e->minor, "status", PATIENCE_S, &answer) == 0)
		return PULSE_ALIVE;
	return look_with_patience(e->dir);
}
