#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>

#include "base/alloc.h"
#include "base/escape.h"
#include "base/io.h"
#include "base/lock.h"

enum sink { SINK_STDERR, SINK_SYSLOG, SINK_JOURNAL, SINK_FILE };

static struct mutex lock = MUTEX_INIT(LOCK_LOG); /* of the three below */
static enum sink sink = SINK_STDERR;
static int sink_fd = -1; /* journal, file */
static char log_name[32];

static atomic_int max_level = LOG_LEVEL_WARN;

static const int priorities[] = {
	[LOG_LEVEL_ERROR] = LOG_ERR,   [LOG_LEVEL_WARN] = LOG_WARNING,
	[LOG_LEVEL_INFO] = LOG_INFO,   [LOG_LEVEL_DEBUG] = LOG_DEBUG,
	[LOG_LEVEL_TRACE] = LOG_DEBUG,
};

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&max_level, (int)level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load_explicit(&max_level,
						    memory_order_relaxed);
}

void log_set_name(const char *name)
{
	mutex_lock(&lock);
	snprintf(log_name, sizeof(log_name), "%s", name ? name : "");
	mutex_unlock(&lock);
}

static int open_journal(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX,
				 .sun_path = "/run/systemd/journal/socket"};
	cleanup_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -errno;
	return steal_fd(&fd);
}

static int open_file(const char *path, int *ret_fd, struct error **errp)
{
	*ret_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	if (*ret_fd < 0)
		return error_set_errno(errp, errno, "opening log '%s'", path);
	return 0;
}

static void set_sink(enum sink new_sink, int fd)
{
	mutex_lock(&lock);
	if (sink == SINK_SYSLOG)
		closelog();
	closep(&sink_fd);
	sink_fd = fd;
	sink = new_sink;
	/* Now, because a sandbox may forbid connecting later. */
	if (sink == SINK_SYSLOG)
		openlog(*log_name ? log_name : NULL, LOG_PID | LOG_NDELAY,
			LOG_DAEMON);
	mutex_unlock(&lock);
}

int log_open(const char *target, struct error **errp)
{
	int fd = -1, r;

	if (!target || !strcmp(target, "stderr")) {
		set_sink(SINK_STDERR, -1);
		return 0;
	}
	if (!strcmp(target, "syslog")) {
		set_sink(SINK_SYSLOG, -1);
		return 0;
	}
	if (!strcmp(target, "journal")) {
		fd = open_journal();
		set_sink(fd >= 0 ? SINK_JOURNAL : SINK_SYSLOG, MAX(fd, -1));
		return 0;
	}
	r = open_file(target, &fd, errp);
	if (r < 0)
		return r;
	set_sink(SINK_FILE, fd);
	return 0;
}

static const char *level_text(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_WARN:
		return "warning: ";
	case LOG_LEVEL_DEBUG:
		return "debug: ";
	case LOG_LEVEL_TRACE:
		return "trace: ";
	default:
		return "";
	}
}

static void add_timestamp(struct strbuf *out)
{
	struct timespec ts;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strbuf_addf(out, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ ",
		    tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
		    tm.tm_min, tm.tm_sec, ts.tv_nsec / 1000000);
}

static void write_stream(int fd, bool timestamp, enum log_level level,
			 const char *text)
{
	cleanup_strbuf struct strbuf line = STRBUF_INIT;

	if (timestamp)
		add_timestamp(&line);
	if (*log_name && timestamp)
		strbuf_addf(&line, "%s[%d]: ", log_name, (int)getpid());
	else if (*log_name)
		strbuf_addf(&line, "%s: ", log_name);
	strbuf_addf(&line, "%s%s\n", level_text(level), text);
	/* One write, so that processes which share the file do not mix. */
	(void)io_write_full(fd, line.buf, line.len);
}

static void write_journal(enum log_level level, const char *text)
{
	cleanup_strbuf struct strbuf msg = STRBUF_INIT;

	strbuf_addf(&msg, "PRIORITY=%d\n", priorities[level]);
	if (*log_name)
		strbuf_addf(&msg, "SYSLOG_IDENTIFIER=%s\n", log_name);
	strbuf_addf(&msg, "MESSAGE=%s\n", text);
	/* A journal that does not keep up must not stop a mount. */
	(void)send(sink_fd, msg.buf, msg.len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void write_locked(enum log_level level, const char *text) REQUIRES(lock);

static void write_locked(enum log_level level, const char *text)
{
	switch (sink) {
	case SINK_STDERR:
		write_stream(STDERR_FILENO, false, level, text);
		break;
	case SINK_FILE:
		write_stream(sink_fd, true, level, text);
		break;
	case SINK_JOURNAL:
		write_journal(level, text);
		break;
	case SINK_SYSLOG:
		syslog(priorities[level], "%s", text);
		break;
	}
}

void log_line(enum log_level level, const char *fmt, ...)
{
	cleanup_free char *raw = NULL, *text = NULL;
	int saved = errno;
	va_list ap;

	if (level > log_get_level())
		return;
	va_start(ap, fmt);
	raw = xvasprintf(fmt, ap);
	va_end(ap);
	text = escape_str(raw);
	mutex_lock(&lock);
	write_locked(level, text);
	mutex_unlock(&lock);
	errno = saved;
}
