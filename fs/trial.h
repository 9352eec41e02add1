/*
 * What a mount would find on this machine, by a mount of nothing that is made
 * and ended at once, and by a process that confines itself.
 *
 * Threads: one, the process's only one.
 */
#ifndef FS_TRIAL_H
#define FS_TRIAL_H

#include <stdbool.h>

#include "engine/settings.h"

struct trial {
	bool resends;               /* the kernel asks the next worker again */
	const char *no_passthrough; /* why not; NULL: it can be had */
};

/* Mount in a new folder of $TMPDIR or /tmp, agree with the kernel on all that a
 * mount asks for, and unmount. What is mounted later is this process's alone. */
int trial_mount(struct trial *ret, struct error **errp);

/* What a worker's sandbox would lack, in words, heap; NULL: nothing. */
int trial_sandbox(const struct settings *settings, char **ret,
		  struct error **errp);

#endif
