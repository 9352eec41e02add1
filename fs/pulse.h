/*
 * Is somebody there who serves a mount of ours?
 *
 * Threads: any.
 */
#ifndef FS_PULSE_H
#define FS_PULSE_H

#include <stdbool.h>

#include "fs/mountinfo.h"

enum pulse {
	PULSE_ALIVE,   /* it answers */
	PULSE_FOREIGN, /* another user's: it does not answer us */
	PULSE_HANGS,   /* nothing for seconds */
	PULSE_DEAD,    /* and nobody is there */
};

enum pulse mount_pulse(const struct mount_entry *e);

/* Does the kernel say so at once? It may ask the worker, and wait. */
bool mount_is_dead(const char *dir);

#endif
