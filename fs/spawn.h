/*
 * How the supervisor starts a worker: itself, forked, or another program, which
 * an upgrade brought. The command line says again what is to be mounted; only
 * what is new to it is handed over.
 *
 * Threads: one, the only one of its process.
 */
#ifndef FS_SPAWN_H
#define FS_SPAWN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "fs/job.h"

struct child {
	pid_t pid; /* 0: none */
	int link;  /* -1: it closed its end */
	bool prepared, serving;
};

struct spawn {
	struct mount_job *job;
	const struct handover *h;
	const char *cwd; /* the caller's, which arguments count from */
	int program;     /* -1: this one */
	const int *own;  /* descriptors that are not the worker's; -1: none */
	size_t n_own;
};

/* 0 or -errno. */
int spawn_worker(const struct spawn *how, struct child *ret);

#endif
