#include "fs/job.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"

#define REPORT_MAX (64u << 10)

/* Fields end with a NUL each: no message, path or document has one. */
static void add_field(struct strbuf *out, const char *s)
{
	strbuf_add(out, s, strlen(s) + 1);
}

/* A parent that is gone needs no report. */
static void send_report(struct mount_job *job, const struct strbuf *report)
{
	io_write_full(job->report_fd, report->buf, report->len);
	closep(&job->report_fd);
}

void job_report_ready(struct mount_job *job, const struct strbuf *doc)
{
	cleanup_strbuf struct strbuf report = STRBUF_INIT;

	add_field(&report, "ready");
	add_field(&report, strbuf_str(doc));
	send_report(job, &report);
}

void job_report_failed(struct mount_job *job, const struct error *err)
{
	cleanup_strbuf struct strbuf report = STRBUF_INIT;

	add_field(&report, "failed");
	strbuf_addf(&report, "%d", err->code);
	strbuf_addc(&report, '\0');
	strbuf_addf(&report, "%d", (int)err->kind);
	strbuf_addc(&report, '\0');
	add_field(&report, err->message);
	add_field(&report, err->hint ? err->hint : "");
	send_report(job, &report);
}

void job_report_end(struct mount_job *job)
{
	cleanup_error struct error *err = NULL;

	error_set(&err, EPIPE, "the mount's process ended unexpectedly");
	job_report_failed(job, err);
}

static int read_all(int fd, struct strbuf *out)
{
	char buf[4096];

	for (;;) {
		ssize_t n = io_read_full(fd, buf, sizeof(buf));

		if (n < 0)
			return (int)n;
		strbuf_add(out, buf, (size_t)n);
		if (n < (ssize_t)sizeof(buf) || out->len > REPORT_MAX)
			return 0;
	}
}

/* The next field, or "" behind the last one. */
static const char *next_field(const struct strbuf *report, size_t *pos)
{
	const char *s = *pos < report->len ? report->buf + *pos : "";

	*pos += strlen(s) + 1;
	return s;
}

int job_read_report(int fd, struct strbuf *ret, struct error **errp)
{
	cleanup_strbuf struct strbuf report = STRBUF_INIT;
	const char *doc, *message, *hint;
	size_t pos = 0;
	int code, kind;

	if (read_all(fd, &report) < 0 || report.len == 0)
		return error_set(errp, EPIPE,
				 "the mount's process ended unexpectedly");
	if (!strcmp(next_field(&report, &pos), "ready")) {
		doc = next_field(&report, &pos);
		if (!*next_field(&report, &pos)) {
			strbuf_adds(ret, doc);
			return 0;
		}
	}
	code = atoi(next_field(&report, &pos));
	kind = atoi(next_field(&report, &pos));
	message = next_field(&report, &pos);
	hint = next_field(&report, &pos);
	code = error_set_kind(errp, (enum error_kind)kind, code, "%s", message);
	return *hint ? error_hint(errp, code, "%s", hint) : code;
}

void job_end_with(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	/* Between fork and here it was not said. */
	if (getppid() != parent)
		_exit(ERROR_DOWNLOAD);
}

int job_catch_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}
