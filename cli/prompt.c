#include "cli/prompt.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/secret.h"
#include "cli/interrupt.h"

#define LINE_MAX_BYTES 32768
#define SLICE_MS       100 /* how late a signal may be noticed */

struct terminal {
	int fd;
	bool hidden; /* and to be set back */
	struct termios was;
};

static void terminal_release(struct terminal *t)
{
	if (t->hidden)
		tcsetattr(t->fd, TCSAFLUSH, &t->was);
	closep(&t->fd);
}
#define cleanup_terminal __attribute__((cleanup(terminal_release)))

static int hide(struct terminal *t)
{
	struct termios quiet;

	if (tcgetattr(t->fd, &t->was) < 0)
		return -errno;
	quiet = t->was;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
	if (tcsetattr(t->fd, TCSAFLUSH, &quiet) < 0)
		return -errno;
	t->hidden = true;
	return 0;
}

/* One read, unless a signal came. 0: the end. */
static ssize_t read_some(int fd, char *buf, size_t n)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t got;

	for (;;) {
		if (interrupt_signal())
			return -ECANCELED;
		if (poll(&p, 1, SLICE_MS) <= 0)
			continue;
		got = read(fd, buf, n);
		if (got >= 0 || errno != EINTR)
			return got < 0 ? -errno : got;
	}
}

/* To the end of a line, or of all there is; @buf has LINE_MAX_BYTES + 1. */
static ssize_t read_up_to(int fd, bool line, char *buf)
{
	size_t n = 0;

	while (n < LINE_MAX_BYTES) {
		ssize_t got = read_some(fd, buf + n, LINE_MAX_BYTES - n);

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

static int read_line(int fd, bool line, char **ret, struct error **errp)
{
	char *buf = xcalloc(LINE_MAX_BYTES + 1, 1);
	int r = take_line(buf, read_up_to(fd, line, buf), ret, errp);

	wipe_free(buf, LINE_MAX_BYTES + 1);
	return r;
}

int prompt(const char *question, bool secret, char **ret, struct error **errp)
{
	cleanup_terminal struct terminal t = {.fd = -1};
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
	r = read_line(t.fd, true, ret, errp);
	if (secret)
		io_write_full(t.fd, "\n", 1);
	return r;
}

int prompt_stdin(char **ret, struct error **errp)
{
	return read_line(STDIN_FILENO, false, ret, errp);
}
