/*
 * What `mopsfs mount` hands from process to process.
 *
 * mopsfs mount forks the supervisor (supervisor.c), which makes workers, and
 * waits for the first one's report. All forks come before the first thread, and
 * before TLS or curl have any state.
 *
 * Threads: one.
 */
#ifndef FS_JOB_H
#define FS_JOB_H

#include <sys/types.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "engine/reference.h"
#include "engine/settings.h"
#include "fs/handover.h"
#include "fs/options.h"

struct mount_job {
	const struct settings *settings;
	const struct mount_options *options;
	const struct reference *reference; /* a layout's folder is absolute */
	/* Absolute; "/dev/fd/N" when @received and not to be seen from here. */
	const char *mountpoint;
	const char *log; /* as of log_open() */
	bool foreground;
	pid_t caller;  /* the process of mopsfs mount */
	bool received; /* somebody else mounted it: see received.h */
	int device;    /* then, for the first worker; -1 */
	/* The worker tells once what became of it; the supervisor holds it, too,
	 * until it knows that. */
	int report_fd;
};

/* The report: a line with 'ready' and a document for people and programs, or
 * with 'failed' and the error. Closes the descriptor. */
void job_report_ready(struct mount_job *job, const struct strbuf *doc);
void job_report_failed(struct mount_job *job, const struct error *err);
/* By the supervisor, whatever the worker wrote: the mount is over. */
void job_report_end(struct mount_job *job);
/* Read it to its end: 0 with the document in @ret, or the worker's error.
 * -EPIPE: the worker ended without one. */
int job_read_report(int fd, struct strbuf *ret, struct error **errp);

/* Block the signals that every process of a mount waits for; everything else
 * that ends a process ends these too. A non-blocking signalfd, or -1. */
int job_catch_signals(void);

/* Get SIGTERM when @parent, which forked this process, ends; or end now, when it
 * did already. */
void job_end_with(pid_t parent);

/*
 * The supervisor's whole life, in the process made for it. Returns its exit
 * status: the last worker's.
 */
int supervisor_run(struct mount_job *job);

/* A worker's whole life. @link is to the supervisor (link.h); with
 * @h->successor it goes on with the mount that @h describes. */
int worker_run(struct mount_job *job, struct handover *h, int link);

/* Set for a program that is run as the next worker of a mount: the descriptors
 * of link, table, device and status socket, and which mount it is. */
#define JOB_VARIABLE "MOPSFS_SUCCESSOR"

#endif
