/*
 * What `mopsfs mount` hands from process to process.
 *
 *   mopsfs mount ──fork──▶ helper ──fork──▶ worker
 *        ▲  waits for the report              │ session, FUSE, everything
 *        └──────────────── pipe ──────────────┘
 *
 * The helper has one thread and holds nothing: it outlives the worker only to
 * take the mount down, and unmounts for it (a worker that gave up privileges
 * could not run fusermount3). All forks come before the first thread, and
 * before TLS or curl have any state.
 *
 * Threads: one.
 */
#ifndef FS_JOB_H
#define FS_JOB_H

#include "base/error.h"
#include "base/strbuf.h"
#include "engine/reference.h"
#include "engine/settings.h"
#include "fs/options.h"

struct mount_job {
	const struct settings *settings;
	const struct mount_options *options;
	const struct reference *reference; /* a layout's folder is absolute */
	const char *mountpoint;            /* absolute */
	const char *log;                   /* as of log_open() */
	bool foreground;
	int report_fd; /* the worker tells once what became of it */
};

/* The report: a line with 'ready' and a document for people and programs, or
 * with 'failed' and the error. Closes the descriptor. */
void job_report_ready(struct mount_job *job, const struct strbuf *doc);
void job_report_failed(struct mount_job *job, const struct error *err);
/* Read it to its end: 0 with the document in @ret, or the worker's error.
 * -EPIPE: the worker ended without one. */
int job_read_report(int fd, struct strbuf *ret, struct error **errp);

/*
 * The helper's whole life, in the process made for it. Returns its exit
 * status: the worker's.
 */
int helper_run(struct mount_job *job);

/* The worker's whole life; @helper_fd is for worker_unmount() alone. */
int worker_run(struct mount_job *job, int helper_fd);

/* Ask the helper, through its end of the link, to unmount: 0 done, 1 detached
 * because it is in use, or -errno. */
int helper_ask_unmount(int helper_fd);

#endif
