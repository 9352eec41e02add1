#include "cli/prompt.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/secret.h"
#include "cli/interrupt.h"

#define LINE_MAX_BYTES 32768
#define SLICE_MS       100 /* how late a signal may be noticed */

/* What ends or stops us, other than interrupt.h's: not before the terminal
 * echoes again. */
static const int stops[] = {SIGHUP, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU};

struct terminal {
	int fd;
	const char *question;
	bool hidden; /* and to be set back, with: */
	struct termios was;
	struct sigaction before[ARRAY_SIZE(stops)];
};

static volatile sig_atomic_t stop_seen;

static void note_stop(int sig)
{
	stop_seen = sig;
}

static void catch_stop(int sig, struct sigaction *ret_before)
{
	const struct sigaction sa = {.sa_handler = note_stop};

	sigaction(sig, NULL, ret_before);
	if (ret_before->sa_handler != SIG_IGN)
		sigaction(sig, &sa, NULL);
}

static int be_quiet(const struct terminal *t)
{
	struct termios quiet = t->was;

	quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
	return tcsetattr(t->fd, TCSAFLUSH, &quiet) < 0 ? -errno : 0;
}

static int hide(struct terminal *t)
{
	int r;

	if (tcgetattr(t->fd, &t->was) < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(stops); i++)
		catch_stop(stops[i], &t->before[i]);
	t->hidden = true;
	do
		r = be_quiet(t);
	while (r == -EINTR && !stop_seen && !interrupt_signal());
	return r == -EINTR ? 0 : r;
}

static void terminal_release(struct terminal *t)
{
	if (t->hidden) {
		tcsetattr(t->fd, TCSAFLUSH, &t->was);
		for (size_t i = 0; i < ARRAY_SIZE(stops); i++)
			sigaction(stops[i], &t->before[i], NULL);
	}
	closep(&t->fd);
}
#define cleanup_terminal __attribute__((cleanup(terminal_release)))

/* Let the signal do what it does; when that was no end, ask again. */
static int step_aside(struct terminal *t)
{
	while (stop_seen) {
		int sig = stop_seen, r;
		struct sigaction ours;

		stop_seen = 0;
		tcsetattr(t->fd, TCSAFLUSH, &t->was);
		sigaction(sig, NULL, &ours);
		signal(sig, SIG_DFL);
		raise(sig);
		sigaction(sig, &ours, NULL);
		r = be_quiet(t);
		if (r == -EINTR)
			continue; /* in the background */
		if (r == 0)
			r = io_write_full(t->fd, t->question,
					  strlen(t->question));
		if (r < 0)
			return r;
	}
	return 0;
}

/* One read, unless a signal came. 0: the end. */
static ssize_t read_some(struct terminal *t, char *buf, size_t n)
{
	struct pollfd p = {.fd = t->fd, .events = POLLIN};
	ssize_t got;

	for (;;) {
		int r = step_aside(t);

		if (r < 0)
			return r;
		if (interrupt_signal())
			return -ECANCELED;
		if (poll(&p, 1, SLICE_MS) <= 0)
			continue;
		got = read(t->fd, buf, n);
		if (got >= 0 || errno != EINTR)
			return got < 0 ? -errno : got;
	}
}

/* To the end of a line, or of all there is; @buf has LINE_MAX_BYTES + 1. */
static ssize_t read_up_to(struct terminal *t, bool line, char *buf)
{
	size_t n = 0;

	while (n < LINE_MAX_BYTES) {
		ssize_t got = read_some(t, buf + n, LINE_MAX_BYTES - n);

		if (got < 0)
			return got;
		n += (size_t)got;
		if (!got || (line && memchr(buf, '\n', n)))
			return (ssize_t)n;
	}
	return -EFBIG;
}

static int take_line(char *buf, ssize_t n, char **ret, struct error **errp)
{
	if (n == -ECANCELED)
		return error_set(errp, ECANCELED, "cancelled");
	if (n == -EFBIG)
		return error_set(errp, EINVAL, "what was given is too long");
	if (n < 0)
		return error_set_errno(errp, (int)-n, "reading");
	if (n && buf[n - 1] == '\n')
		n--;
	if (n && buf[n - 1] == '\r')
		n--;
	buf[n] = '\0';
	if (!n || strlen(buf) != (size_t)n || strpbrk(buf, "\r\n"))
		return error_set(errp, EINVAL, "%s",
				 n ? "what was given is more than a line"
				   : "nothing was given");
	*ret = xstrdup(buf);
	return 0;
}

static int read_line(struct terminal *t, bool line, char **ret,
		     struct error **errp)
{
	char *buf = xcalloc(LINE_MAX_BYTES + 1, 1);
	int r = take_line(buf, read_up_to(t, line, buf), ret, errp);

	wipe_free(buf, LINE_MAX_BYTES + 1);
	return r;
}

int prompt(const char *question, bool secret, char **ret, struct error **errp)
{
	cleanup_terminal struct terminal t = {.fd = -1, .question = question};
	int r = 0;

	t.fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (t.fd < 0)
		return error_set(errp, ENOTTY, "there is no terminal to ask");
	if (secret)
		r = hide(&t);
	if (r == 0)
		r = io_write_full(t.fd, question, strlen(question));
	if (r < 0)
		return error_set_errno(errp, -r, "asking");
	r = read_line(&t, true, ret, errp);
	if (secret)
		io_write_full(t.fd, "\n", 1);
	return r;
}

int prompt_stdin(char **ret, struct error **errp)
{
	struct terminal none = {.fd = STDIN_FILENO, .question = ""};

	return read_line(&none, false, ret, errp);
}
