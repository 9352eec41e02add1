#include "storage/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/secret.h"
#include "storage/aws_credentials.h"

#define SLICE_MS 20 /* how late a cancellation may be noticed */
#define GRACE_MS 2000

char *program_find(const char *name)
{
	const char *path = getenv("PATH");

	for (const char *p = path ? path : ""; *p;) {
		size_t n = strcspn(p, ":");
		cleanup_free char *at = xasprintf("%.*s/%s", (int)n, p, name);

		if (*at == '/' && access(at, X_OK) == 0)
			return steal_ptr(&at);
		p += n + (p[n] == ':');
	}
	return NULL;
}

static int (*start_elsewhere)(char *const *argv, int in, int out);

void program_run_with(int (*start)(char *const *argv, int in, int out))
{
	start_elsewhere = start;
}

bool program_is_configured(char *const *argv)
{
	static const char prefix[] = "docker-credential-";
	const char *slash = strrchr(argv[0], '/');
	const char *name = slash ? slash + 1 : argv[0];
	cleanup_free char *path = program_find(name);

	if (path && !strcmp(path, argv[0]) && argv[1] && !argv[2] &&
	    !strcmp(argv[1], "get") && !strncmp(name, prefix, strlen(prefix)))
		return true;
	return aws_process_is_configured(argv);
}

/*
 * Running it. Its standard input is a socket, since writing into one whose
 * other end is closed can be done without a signal.
 */

int program_spawn(char *const *argv, int in, int out, pid_t *ret)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int r;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&fa);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_adddup2(&fa, in, 0);
	posix_spawn_file_actions_adddup2(&fa, out, 1);
	posix_spawn_file_actions_addopen(&fa, 2, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addclosefrom_np(&fa, 3);
	posix_spawn_file_actions_addchdir_np(&fa, "/");
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK |
						POSIX_SPAWN_SETSIGDEF |
						POSIX_SPAWN_SETPGROUP);
	r = posix_spawn(ret, argv[0], &fa, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&fa);
	return -r;
}

struct running {
	pid_t pid;
	int elsewhere; /* its status comes from there; -1: it is our child */
	int in;        /* our ends */
	int out;
	int64_t deadline_ns;
	const struct op *op;
	char *buf; /* PROGRAM_OUTPUT_MAX + 1 bytes */
	size_t len;
};

static int start(struct running *h, char *const *argv)
{
	int in[2], out[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) < 0)
		return -errno;
	if (pipe2(out, O_CLOEXEC) < 0) {
		r = -errno;
		close(in[0]);
		close(in[1]);
		return r;
	}
	if (start_elsewhere)
		r = h->elsewhere = start_elsewhere(argv, in[1], out[1]);
	else
		r = program_spawn(argv, in[1], out[1], &h->pid);
	close(in[1]);
	close(out[1]);
	if (r < 0) {
		close(in[0]);
		close(out[0]);
		return r;
	}
	h->in = in[0];
	h->out = out[0];
	return 0;
}

/* What it prints, to its end. 1: there may be more. */
static int read_more(struct running *h)
{
	struct pollfd p = {.fd = h->out, .events = POLLIN};
	ssize_t n;

	if (op_cancelled(h->op))
		return -ECANCELED;
	if (time_mono_ns() >= h->deadline_ns)
		return -ETIMEDOUT;
	if (poll(&p, 1, SLICE_MS) <= 0)
		return 1;
	if (h->len == PROGRAM_OUTPUT_MAX)
		return -EFBIG;
	n = read(h->out, h->buf + h->len, PROGRAM_OUTPUT_MAX - h->len);
	if (n < 0)
		return errno == EINTR ? 1 : -errno;
	h->len += (size_t)n;
	return n > 0;
}

/* 1: not yet. */
static int look_for_end(struct running *h, int *ret_status)
{
	struct pollfd p = {.fd = h->elsewhere, .events = POLLIN};
	pid_t pid;

	if (h->elsewhere >= 0) {
		if (poll(&p, 1, 0) <= 0)
			return 1;
		return recv(p.fd, ret_status, sizeof(*ret_status),
			    MSG_WAITALL) == sizeof(*ret_status)
			       ? 0
			       : -ECHILD;
	}
	pid = waitpid(h->pid, ret_status, WNOHANG);
	if (pid == h->pid)
		return 0;
	return pid < 0 && errno != EINTR ? -errno : 1;
}

static int wait_for_end(struct running *h, int *ret_status)
{
	for (;;) {
		int r = look_for_end(h, ret_status);

		if (r <= 0)
			return r;
		if (op_cancelled(h->op))
			return -ECANCELED;
		if (time_mono_ns() >= h->deadline_ns)
			return -ETIMEDOUT;
		time_sleep_ms(2);
	}
}

static int talk(struct running *h, const char *input, int *ret_status)
{
	int r = 1;

	/* It may end without reading; its answer tells. */
	send(h->in, input, strlen(input), MSG_NOSIGNAL);
	close(steal_fd(&h->in));
	while (r > 0)
		r = read_more(h);
	h->buf[h->len] = '\0';
	return r < 0 ? r : wait_for_end(h, ret_status);
}

/* It and what it started. What it has to clean up (a mount, say) it may. */
static void end(const struct running *h)
{
	int64_t until = time_deadline_ms(GRACE_MS);
	siginfo_t info = {0};

	kill(-h->pid, SIGTERM);
	/* Its number stays its own until it is waited for. */
	while (waitid(P_PID, (id_t)h->pid, &info,
		      WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       !info.si_pid && time_mono_ns() < until)
		time_sleep_ms(SLICE_MS);
	kill(-h->pid, SIGKILL);
	waitpid(h->pid, NULL, 0);
}

static int run(struct running *h, char *const *argv, const char *input,
	       int *ret_status)
{
	int r = start(h, argv);

	if (r < 0)
		return r;
	r = talk(h, input, ret_status);
	if (r < 0 && h->elsewhere < 0)
		end(h);
	closep(&h->elsewhere);
	closep(&h->in);
	closep(&h->out);
	return r;
}

int program_run(char *const *argv, const char *input, char **ret,
		int *ret_status, const struct op *op, struct error **errp)
{
	struct running h = {
		.elsewhere = -1,
		.in = -1,
		.out = -1,
		.op = op,
		.buf = xmalloc(PROGRAM_OUTPUT_MAX + 1),
		.deadline_ns =
			MIN(op_deadline(op), time_deadline_ms(PROGRAM_TIME_MS)),
	};
	int r = run(&h, argv, input, ret_status);

	if (r == 0) {
		*ret = h.buf;
		return 0;
	}
	wipe_free(h.buf, PROGRAM_OUTPUT_MAX + 1);
	if (r == -EFBIG)
		return error_set(errp, EINVAL, "its answer is over 64 KiB");
	return error_set_errno(errp, -r, "it cannot be asked");
}

void program_output_free(char *buf)
{
	if (buf)
		wipe_free(buf, PROGRAM_OUTPUT_MAX + 1);
}

int program_failed(int status, int code, struct error **errp)
{
	if (WIFEXITED(status))
		return error_set(errp, code, "it ended with status %d",
				 WEXITSTATUS(status));
	return error_set(errp, code, "it was killed by signal %d",
			 WTERMSIG(status));
}
