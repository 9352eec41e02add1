#include "fs/pulse.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <unistd.h>

#include "base/time.h"

/* What looks, and is ended by @sig, or never ends by itself. */
static pid_t looks(int sig)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (sig)
			kill(getpid(), sig);
		for (;;)
			pause();
	}
	return pid;
}

static enum pulse end(pid_t pid)
{
	const struct op op = {.deadline_ns = time_deadline_ms(500)};

	return pulse_end(pid, &op);
}

Test(pulse, says_nothing_of_a_mount_that_nobody_could_look_at)
{
	cr_expect(eq(int, (int)end(-1), (int)PULSE_UNKNOWN));
	cr_expect(eq(int, (int)end(looks(SIGKILL)), (int)PULSE_UNKNOWN));
}

Test(pulse, takes_silence_for_a_hang)
{
	cr_expect(eq(int, (int)end(looks(0)), (int)PULSE_HANGS));
}
