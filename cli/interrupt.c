#include "cli/interrupt.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static atomic_bool interrupted;
static volatile sig_atomic_t signal_seen;

static void on_signal(int sig)
{
	if (signal_seen)
		_exit(128 + sig);
	signal_seen = sig;
	atomic_store(&interrupted, true);
}

void interrupt_catch(void)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	sigemptyset(&sa.sa_mask);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	/* A closed pipe is an error of write(), said like any other. */
	signal(SIGPIPE, SIG_IGN);
}

const atomic_bool *interrupt_flag(void)
{
	return &interrupted;
}

int interrupt_signal(void)
{
	return signal_seen;
}
