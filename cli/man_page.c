#include "cli/man_page.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"

/* What man(1) does not find it says on stderr: the text is shown then. */
static int spawn_man(const char *page, pid_t *ret)
{
	char *argv[] = {(char *)"man", (char *)"1", (char *)page, NULL};
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t dfl;
	int r;

	posix_spawn_file_actions_init(&fa);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_addopen(&fa, STDERR_FILENO, "/dev/null",
					 O_WRONLY, 0);
	sigemptyset(&dfl);
	sigaddset(&dfl, SIGINT);
	sigaddset(&dfl, SIGQUIT);
	posix_spawnattr_setsigdefault(&attr, &dfl);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF);
	r = posix_spawnp(ret, "man", &fa, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&fa);
	return r;
}

static bool run_man(const char *page)
{
	int status = -1;
	pid_t pid;

	if (spawn_man(page, &pid) != 0)
		return false;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool man_page_show(const struct program *p, const struct verb *v)
{
	cleanup_free char *page = xasprintf("%s-%s", p->name, v->name);
	struct sigaction ignore = {.sa_handler = SIG_IGN}, intr, quit;
	bool shown;

	if (!isatty(STDOUT_FILENO))
		return false;
	/* ^C is for the pager. */
	sigaction(SIGINT, &ignore, &intr);
	sigaction(SIGQUIT, &ignore, &quit);
	shown = run_man(page);
	sigaction(SIGINT, &intr, NULL);
	sigaction(SIGQUIT, &quit, NULL);
	return shown;
}
