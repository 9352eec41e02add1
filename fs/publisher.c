#include "fs/publisher.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"

#define EVERY_NS (5 * NS_PER_S)
#define LOOK_MS  10

/* Once for each reason: it is tried again and again. */
static void complain(struct publisher *p, const char *why)
{
	if (strcmp(p->complaint, why) == 0)
		return;
	snprintf(p->complaint, sizeof(p->complaint), "%s", why);
	log_error("writing what was recorded to '%s': %s", p->path, why);
}

static void start(struct publisher *p, struct record_table *t)
{
	p->writing = atomic_load(&t->len);
	p->pid = fork();
	if (p->pid == 0) {
		/* Whoever has the mount's device serves it, for the kernel. */
		close_range(3, ~0u, 0);
		_exit(-record_publish(t, p->path) & 0xff);
	}
	if (p->pid > 0)
		return;
	p->pid = 0;
	complain(p, strerror(errno));
}

void publisher_look(struct publisher *p, struct record_table *t, int64_t now_ns)
{
	size_t len = p->path ? atomic_load(&t->len) : 0;

	if (len == p->written || p->pid || now_ns < p->next_ns)
		return;
	p->next_ns = now_ns + EVERY_NS;
	start(p, t);
}

bool publisher_died(struct publisher *p, pid_t pid, int status)
{
	char why[32];

	if (!p->pid || pid != p->pid)
		return false;
	p->pid = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		p->written = p->writing;
		p->complaint[0] = '\0';
	} else if (WIFEXITED(status)) {
		complain(p, strerror(WEXITSTATUS(status)));
	} else {
		snprintf(why, sizeof(why), "ended by signal %d",
			 WTERMSIG(status));
		complain(p, why);
	}
	return true;
}

/* False: it is not over by then. */
static bool wait_until(struct publisher *p, int64_t until_ns)
{
	while (p->pid) {
		int status = 0;
		pid_t pid = waitpid(p->pid, &status, WNOHANG);

		if (pid < 0 && errno != EINTR)
			p->pid = 0; /* nobody's child */
		else if (pid > 0)
			publisher_died(p, pid, status);
		else if (time_mono_ns() >= until_ns)
			return false;
		else
			time_sleep_ms(LOOK_MS);
	}
	return true;
}

void publisher_end(struct publisher *p, struct record_table *t,
		   int64_t patience_ms)
{
	int64_t until = time_deadline_ms(patience_ms);

	if (!p->path)
		return;
	if (!wait_until(p, until)) {
		/* Its older text might win. */
		kill(p->pid, SIGKILL);
		if (!wait_until(p, time_deadline_ms(patience_ms))) {
			complain(p, "the file system hangs");
			return;
		}
	}
	for (start(p, t); !p->pid && time_mono_ns() < until; start(p, t))
		time_sleep_ms(LOOK_MS);
	if (!wait_until(p, time_deadline_ms(patience_ms)))
		log_warn("writing what was recorded to '%s' takes long: it is "
			 "not waited for",
			 p->path);
}
