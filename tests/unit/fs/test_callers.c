#include "fs/callers.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t of(int sig)
{
	return 1ull << (sig - 1);
}

static bool ends(uint64_t thread, uint64_t process, uint64_t blocked,
		 uint64_t ignored, uint64_t caught)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "Name:\tx\nSigQ:\t1/2\nSigPnd:\t%016lx\nShdPnd:\t%016lx\n"
		 "SigBlk:\t%016lx\nSigIgn:\t%016lx\nSigCgt:\t%016lx\nCapInh:\t"
		 "0\n",
		 thread, process, blocked, ignored, caught);
	return status_shows_end(text);
}

Test(callers, frees_a_caller_that_is_being_killed)
{
	cr_expect(ends(of(SIGKILL), 0, 0, 0, 0));
	cr_expect(ends(0, of(SIGTERM), 0, 0, 0));
	cr_expect(ends(0, of(SIGUSR1), 0, 0, 0), "its default is to kill");
	cr_expect(ends(0, of(SIGALRM), 0, 0, 0));
}

Test(callers, frees_a_caller_that_handles_a_wish_to_end)
{
	cr_expect(ends(0, of(SIGINT), 0, 0, of(SIGINT)));
	cr_expect(ends(0, of(SIGTERM), 0, 0, of(SIGTERM)));
	cr_expect(ends(0, of(SIGHUP), 0, 0, of(SIGHUP)));
}

Test(callers, leaves_a_caller_alone_that_goes_on)
{
	cr_expect(not(ends(0, 0, 0, 0, 0)));
	cr_expect(not(ends(0, of(SIGCHLD), 0, 0, of(SIGCHLD))));
	cr_expect(not(ends(0, of(SIGCHLD), 0, 0, 0)));
	cr_expect(not(ends(0, of(SIGWINCH) | of(SIGURG), 0, 0, 0)));
	cr_expect(not(ends(0, of(SIGURG), 0, 0, of(SIGURG))), "Go's");
	cr_expect(not(ends(0, of(SIGALRM), 0, 0, of(SIGALRM))), "a timer");
	cr_expect(not(ends(of(SIGUSR1), 0, 0, 0, of(SIGUSR1))));
	cr_expect(not(ends(0, of(SIGTSTP), 0, 0, 0)));
}

Test(callers, leaves_blocked_and_ignored_signals_alone)
{
	cr_expect(not(ends(0, of(SIGINT), of(SIGINT), 0, of(SIGINT))));
	cr_expect(not(ends(0, of(SIGTERM), of(SIGTERM), 0, 0)));
	cr_expect(not(ends(0, of(SIGHUP), 0, of(SIGHUP), 0)));
}

Test(callers, takes_a_text_without_masks_for_no_signal)
{
	cr_expect(not(status_shows_end("")));
	cr_expect(not(status_shows_end("Name:\tx\nState:\tD\n")));
}

Test(callers, sees_that_a_caller_is_gone)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	cr_expect(caller_is_dying(pid));
	cr_expect(not(caller_is_dying(getpid())));
}
