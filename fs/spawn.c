#include "fs/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "cli/output.h"
#include "fs/link.h"

static void keep_over_exec(int fd)
{
	if (fd >= 0)
		fcntl(fd, F_SETFD, 0);
}

static char **own_arguments(char **ret_text)
{
	char **v = NULL;
	size_t n;

	if (io_read_file(AT_FDCWD, "/proc/self/cmdline", 1u << 21, ret_text,
			 &n) < 0)
		return NULL;
	for (char *p = *ret_text; p < *ret_text + n; p += strlen(p) + 1)
		strv_append(&v, p);
	return v;
}

static void __attribute__((noreturn))
become_program(const struct spawn *how, const struct handover *h, int link)
{
	const struct mount_identity *id = &h->identity;
	cleanup_free char *value =
		xasprintf("%d,%d,%d,%d,%u,%u,%" PRIu64 ",%d", link, h->memory,
			  h->device, h->listener, id->major, id->minor,
			  id->unique, h->passthrough);
	char *text = NULL;
	char **argv = own_arguments(&text);

	keep_over_exec(link);
	keep_over_exec(h->memory);
	keep_over_exec(h->device);
	keep_over_exec(h->listener);
	if (argv && how->cwd && chdir(how->cwd) == 0 &&
	    setenv(JOB_VARIABLE, value, 1) == 0)
		fexecve(how->program, argv, environ);
	link_send(link, LINK_FAILED, strerror(errno), NULL, 0);
	_exit(ERROR_DOWNLOAD);
}

/* 0: it has the device of its own that it needs. */
static int take_clone(struct handover *h)
{
	int clone;

	if (h->device < 0 || !h->table->cloned)
		return 0;
	clone = handover_clone(h->device);
	if (clone < 0)
		return clone;
	close(h->device);
	h->device = clone;
	return 0;
}

static void __attribute__((noreturn))
in_child(const struct spawn *how, pid_t supervisor, int link)
{
	struct handover h = *how->h;

	job_end_with(supervisor);
	if (take_clone(&h) < 0)
		_exit(ERROR_DOWNLOAD);
	if (how->program >= 0)
		become_program(how, &h, link);
	for (size_t i = 0; i < how->n_own; i++)
		if (how->own[i] >= 0)
			close(how->own[i]);
	h.lease = -1;
	h.successor = h.device >= 0;
	_exit(worker_run(how->job, &h, link));
}

int spawn_worker(const struct spawn *how, struct child *ret)
{
	int pair[2];
	int r = link_make(pair);
	pid_t self = getpid(), pid;

	if (r < 0)
		return r;
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		in_child(how, self, pair[1]);
	}
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return -EAGAIN;
	}
	*ret = (struct child){.pid = pid, .link = pair[0]};
	return 0;
}
