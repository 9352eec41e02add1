#include "fs/publisher.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"

#define EVERY_NS (5 * NS_PER_S)

static void complain(const struct publisher *p, int code)
{
	log_error("writing what was recorded to '%s': %s", p->path,
		  strerror(code));
}

void publisher_look(struct publisher *p, struct record_table *t, int64_t now_ns)
{
	size_t len = p->path ? atomic_load(&t->len) : 0;

	if (len == p->written || p->pid || now_ns < p->next_ns)
		return;
	p->next_ns = now_ns + EVERY_NS;
	p->written = len;
	p->pid = fork();
	if (p->pid == 0) {
		/* Whoever has the mount's device serves it, for the kernel. */
		close_range(3, ~0u, 0);
		_exit(-record_publish(t, p->path) & 0xff);
	}
	if (p->pid < 0)
		p->pid = 0; /* next time, or in the end */
}

bool publisher_died(struct publisher *p, pid_t pid, int status)
{
	if (!p->pid || pid != p->pid)
		return false;
	p->pid = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status))
		complain(p, WEXITSTATUS(status));
	return true;
}

void publisher_end(struct publisher *p, struct record_table *t)
{
	int r;

	if (!p->path)
		return;
	if (p->pid)
		waitpid(p->pid, NULL, 0); /* or its older text might win */
	r = record_publish(t, p->path);
	if (r < 0)
		complain(p, -r);
}
