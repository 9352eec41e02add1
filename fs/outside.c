#include "fs/outside.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/strbuf.h"
#include "fs/link.h"
#include "fs/unmount.h"
#include "storage/program.h"

#define WORD_END '\x1e' /* between words; in none of them */
#define TICK_MS  20
/* More at a time, each a process, nothing that is honest needs. */
#define KEEPERS_MAX 8u
#define REAP_MS     1000

static int outside = -1;

/*
 * The worker's side.
 */

static char *join(char *const *argv)
{
	struct strbuf sb = STRBUF_INIT;

	for (; *argv; argv++) {
		if (strchr(*argv, WORD_END)) {
			free(strbuf_steal(&sb));
			return NULL;
		}
		strbuf_adds(&sb, *argv);
		strbuf_addc(&sb, WORD_END);
	}
	return strbuf_steal(&sb);
}

/* Where its status will come from; closed before, the program is killed. */
static int run_there(char *const *argv, int in, int out)
{
	cleanup_free char *words = join(argv);
	int pair[2], r;

	if (!words || strlen(words) >= LINK_TEXT)
		return -E2BIG;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	r = link_send(outside, LINK_RUN, words, (int[]){in, out, pair[1]}, 3);
	close(pair[1]);
	if (r < 0)
		close(pair[0]);
	return r < 0 ? r : pair[0];
}

void outside_tell(const struct mount_identity *mount)
{
	cleanup_free char *text = xasprintf("%u %u %" PRIu64, mount->major,
					    mount->minor, mount->unique);

	if (outside >= 0)
		link_send(outside, LINK_MOUNT, text, NULL, 0);
}

int outside_unmount(void)
{
	int r = outside < 0 ? -ENOTCONN : link_ask_unmount(outside);

	return MIN(r, 0);
}

/*
 * The other side.
 */

struct outside {
	int link;
	const char *mountpoint;
	struct mount_identity mount; /* all 0: not told yet */
	unsigned keepers;            /* not waited for yet */
};

static bool is_over(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, ms) > 0;
}

/* One program's: waits for its end, or for the worker to lose interest. */
static void __attribute__((noreturn)) keep(char **argv, const int *fds)
{
	int status = 0;
	pid_t pid, ended;
	int r;

	if (!program_is_configured(argv))
		_exit(1);
	r = program_spawn(argv, fds[0], fds[1], &pid);
	if (r < 0)
		_exit(1);
	close(fds[0]);
	close(fds[1]);
	do
		ended = waitpid(pid, &status, WNOHANG);
	while (ended == 0 && !is_over(fds[2], TICK_MS));
	if (ended == pid)
		io_write_full(fds[2], &status, sizeof(status));
	else
		kill(-pid, SIGKILL);
	_exit(0);
}

static char **split(char *text)
{
	char **v = NULL;

	for (char *end; (end = strchr(text, WORD_END)); text = end + 1) {
		*end = '\0';
		strv_append(&v, text);
	}
	return v;
}

static void reap(struct outside *o)
{
	while (o->keepers && waitpid(-1, NULL, WNOHANG) > 0)
		o->keepers--;
}

/* Whoever is refused sees the other end of the status closed. */
static void run_here(struct outside *o, struct link_message *m)
{
	pid_t pid;
	char **argv;

	for (size_t i = 0; i < LINK_FDS; i++)
		if (m->fds[i] < 0)
			return;
	reap(o);
	if (o->keepers >= KEEPERS_MAX)
		return;
	pid = fork();
	if (pid > 0)
		o->keepers++;
	if (pid != 0)
		return;
	close(o->link);
	argv = split(m->text);
	if (!argv)
		_exit(1);
	keep(argv, m->fds);
}

/* Once: a worker that was taken over is not to name others. */
static void take_mount(struct outside *o, const char *text)
{
	struct mount_identity m;

	if (!o->mount.minor &&
	    sscanf(text, "%u %u %" SCNu64, &m.major, &m.minor, &m.unique) == 3)
		o->mount = m;
}

/* Nothing of the mount is held open here, or it would outlive its worker. */
static int keep_only(int fd)
{
	cleanup_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return -errno;
	for (int i = 0; i <= 2; i++)
		dup2(null, i);
	if (fd != 3 && dup3(fd, 3, O_CLOEXEC) < 0)
		return -errno;
	close_range(4, ~0u, 0);
	null = -1;
	return 3;
}

static bool receive(struct outside *o, struct link_message *m)
{
	do
		reap(o);
	while (!is_over(o->link, o->keepers ? REAP_MS : -1));
	return link_receive(o->link, m);
}

static void __attribute__((noreturn)) serve(struct outside *o, int fd)
{
	struct link_message m;

	o->link = keep_only(fd);
	setsid();
	signal(SIGCHLD, SIG_DFL);
	while (o->link >= 0 && receive(o, &m)) {
		if (m.word == LINK_RUN)
			run_here(o, &m);
		else if (m.word == LINK_MOUNT)
			take_mount(o, m.text);
		else if (m.word == LINK_UNMOUNT)
			link_tell_unmounted(o->link, unmount_own(o->mountpoint,
								 &o->mount));
		for (size_t i = 0; i < LINK_FDS; i++)
			closep(&m.fds[i]);
	}
	_exit(0);
}

int outside_start(const char *mountpoint, const struct mount_identity *mount)
{
	struct outside o = {.mountpoint = mountpoint, .mount = *mount};
	int pair[2];
	int r = link_make(pair);
	pid_t pid;

	if (r < 0)
		return r;
	pid = fork();
	if (pid == 0)
		serve(&o, pair[1]);
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return -EAGAIN;
	}
	outside = pair[0];
	program_run_with(run_there);
	return 0;
}
