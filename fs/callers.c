#include "fs/callers.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/io.h"

static uint64_t bit(int sig)
{
	return 1ull << (sig - 1);
}

static uint64_t mask_of(const char *status, const char *field)
{
	const char *p = strstr(status, field);

	return p ? strtoull(p + strlen(field), NULL, 16) : 0;
}

bool status_shows_end(const char *status)
{
	const uint64_t harmless = bit(SIGCHLD) | bit(SIGCONT) | bit(SIGURG) |
				  bit(SIGWINCH) | bit(SIGSTOP) | bit(SIGTSTP) |
				  bit(SIGTTIN) | bit(SIGTTOU);
	const uint64_t asks_to_end =
		bit(SIGINT) | bit(SIGTERM) | bit(SIGHUP) | bit(SIGQUIT);
	uint64_t pending =
		mask_of(status, "\nSigPnd:") | mask_of(status, "\nShdPnd:");
	uint64_t caught = mask_of(status, "\nSigCgt:");

	pending &=
		~(mask_of(status, "\nSigBlk:") | mask_of(status, "\nSigIgn:"));
	return pending & ((~caught & ~harmless) | asks_to_end);
}

bool caller_is_dying(pid_t tid)
{
	char path[64];
	cleanup_free char *status = NULL;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
	if (io_read_file(AT_FDCWD, path, 16384, &status, &n) < 0)
		/* Gone, or hidden from us (hidepid)? */
		return kill(tid, 0) < 0 && errno == ESRCH;
	return status_shows_end(status);
}
