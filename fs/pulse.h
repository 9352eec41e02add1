/*
 * Is somebody there who serves a mount of ours?
 *
 * Threads: one, the process's only one.
 */
#ifndef FS_PULSE_H
#define FS_PULSE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/op.h"
#include "fs/mountinfo.h"

enum pulse {
	PULSE_ALIVE,   /* it answers */
	PULSE_FOREIGN, /* another user's: whether it answers, we cannot know */
	PULSE_UNKNOWN, /* no process could be had that looks, or it ended */
	PULSE_HANGS,   /* nothing for seconds */
	PULSE_DEAD,    /* and nobody is there */
};

/* All that are begun are asked at once, so that many which hang take no longer
 * than one: until @op ends, which is the time that each may take. */
#define PULSE_PATIENCE_MS 4000
pid_t pulse_begin(const struct mount_entry *e);
enum pulse pulse_end(pid_t pid, const struct op *op);

/* Does the kernel say so at once? It may ask the worker, and wait. */
bool mount_is_dead(const char *dir);

#endif
