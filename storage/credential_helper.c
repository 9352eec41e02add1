#include "storage/credential_helper.h"

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
#include "base/json.h"
#include "base/secret.h"

#define SUFFIX_MAX   64
#define SERVER_MAX   512
#define REPLY_VALUES 100
#define SLICE_MS     20 /* how late a cancellation may be noticed */
#define NOT_FOUND    "credentials not found in native keychain"

/* No path, no option, nothing that is special anywhere. */
static bool is_suffix(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz"
			     "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");

	return n && n <= SUFFIX_MAX && !s[n] && *s != '-' && *s != '.';
}

/* The helpers' protocol ends at a line; a server's name is one word. */
static bool is_server(const char *s)
{
	size_t n = strlen(s);

	for (size_t i = 0; i < n; i++)
		if (s[i] <= ' ' || s[i] >= 0x7f)
			return false;
	return n && n <= SERVER_MAX;
}

/* Found below an absolute folder of PATH; NULL: nowhere. */
static char *find_program(const char *name)
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

/*
 * Running it. Its standard input is a socket, since writing into one whose
 * other end is closed can be done without a signal.
 */

static int spawn(const char *program, int in, int out, pid_t *ret)
{
	char *argv[] = {(char *)program, (char *)"get", NULL};
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
	r = posix_spawn(ret, program, &fa, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&fa);
	return -r;
}

struct helper {
	pid_t pid;
	int in; /* our ends */
	int out;
	int64_t deadline_ns;
	const struct op *op;
	char *buf; /* HELPER_OUTPUT_MAX + 1 bytes */
	size_t len;
};

static int start(struct helper *h, const char *program)
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
	r = spawn(program, in[1], out[1], &h->pid);
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
static int read_more(struct helper *h)
{
	struct pollfd p = {.fd = h->out, .events = POLLIN};
	ssize_t n;

	if (op_cancelled(h->op))
		return -ECANCELED;
	if (time_mono_ns() >= h->deadline_ns)
		return -ETIMEDOUT;
	if (poll(&p, 1, SLICE_MS) <= 0)
		return 1;
	if (h->len == HELPER_OUTPUT_MAX)
		return -EFBIG;
	n = read(h->out, h->buf + h->len, HELPER_OUTPUT_MAX - h->len);
	if (n < 0)
		return errno == EINTR ? 1 : -errno;
	h->len += (size_t)n;
	return n > 0;
}

static int wait_for_end(struct helper *h, int *ret_status)
{
	for (;;) {
		pid_t pid = waitpid(h->pid, ret_status, WNOHANG);

		if (pid == h->pid)
			return 0;
		if (pid < 0 && errno != EINTR)
			return -errno;
		if (op_cancelled(h->op))
			return -ECANCELED;
		if (time_mono_ns() >= h->deadline_ns)
			return -ETIMEDOUT;
		time_sleep_ms(2);
	}
}

static int talk(struct helper *h, const char *server, int *ret_status)
{
	int r = 1;

	/* It may end without reading; its answer tells. */
	send(h->in, server, strlen(server), MSG_NOSIGNAL);
	close(steal_fd(&h->in));
	while (r > 0)
		r = read_more(h);
	h->buf[h->len] = '\0';
	return r < 0 ? r : wait_for_end(h, ret_status);
}

static int run(struct helper *h, const char *program, const char *server,
	       int *ret_status)
{
	int r = start(h, program);

	if (r < 0)
		return r;
	r = talk(h, server, ret_status);
	if (r < 0) { /* it and what it started */
		kill(-h->pid, SIGKILL);
		waitpid(h->pid, NULL, 0);
	}
	closep(&h->in);
	closep(&h->out);
	return r;
}

/*
 * Its answer.
 */

int credential_helper_parse(const char *buf, size_t n, struct login *ret,
			    struct error **errp)
{
	static const struct json_limits limits = {HELPER_OUTPUT_MAX,
						  REPLY_VALUES};
	cleanup_json struct json *doc = NULL;
	const char *user, *secret;

	if (json_parse(buf, n, &limits, &doc, NULL) < 0)
		return error_set(errp, EINVAL, "its answer is no JSON");
	user = json_str(json_get(doc, "Username"));
	secret = json_str(json_get(doc, "Secret"));
	if (!user || !secret || !*secret) {
		json_wipe(doc);
		return error_set(errp, EINVAL,
				 "its answer holds no user and secret");
	}
	if (strcmp(user, "<token>") == 0) {
		ret->identity_token = xstrdup(secret);
	} else {
		ret->user = xstrdup(user);
		ret->secret = xstrdup(secret);
	}
	json_wipe(doc);
	return 1;
}

static int judge(const struct helper *h, int status, struct login *ret,
		 struct error **errp)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return credential_helper_parse(h->buf, h->len, ret, errp);
	if (WIFEXITED(status) &&
	    strncmp(h->buf, NOT_FOUND, strlen(NOT_FOUND)) == 0)
		return 0;
	if (WIFEXITED(status))
		return error_set(errp, EIO, "it ended with status %d",
				 WEXITSTATUS(status));
	return error_set(errp, EIO, "it was killed by signal %d",
			 WTERMSIG(status));
}

static int ask(const char *program, const char *server, struct login *ret,
	       const struct op *op, struct error **errp)
{
	struct helper h = {
		.in = -1,
		.out = -1,
		.op = op,
		.buf = xmalloc(HELPER_OUTPUT_MAX + 1),
		.deadline_ns =
			MIN(op_deadline(op), time_deadline_ms(HELPER_TIME_MS)),
	};
	int status = 0;
	int r = run(&h, program, server, &status);

	if (r == -EFBIG)
		r = error_set(errp, EINVAL, "its answer is over 64 KiB");
	else if (r < 0)
		r = error_set_errno(errp, -r, "it cannot be asked");
	else
		r = judge(&h, status, ret, errp);
	wipe_free(h.buf, HELPER_OUTPUT_MAX + 1);
	return r;
}

int credential_helper_get(const char *suffix, const char *server,
			  struct login *ret, const struct op *op,
			  struct error **errp)
{
	cleanup_free char *program = NULL;
	cleanup_free char *name = NULL;
	int r;

	if (!is_suffix(suffix))
		return error_set(errp, EINVAL,
				 "'%s' is no credential helper's name", suffix);
	name = xasprintf("docker-credential-%s", suffix);
	if (!is_server(server))
		return error_set(errp, EINVAL, "%s is not asked about '%s'",
				 name, server);
	program = find_program(name);
	if (!program)
		return error_set(errp, EIO, "%s is not in PATH", name);
	r = ask(program, server, ret, op, errp);
	return r < 0 ? error_prefix(errp, r, "%s", name) : r;
}
