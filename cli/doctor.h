/* The parts of `mops doctor`: each adds to what is found. */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include "cli/checks.h"
#include "cli/run.h"

/* doctor_cache.c: the cache's folder and its disk. */
void doctor_cache(struct run *run, struct checks *k);
/* doctor_net.c: the registry of @text, or the default one (NULL), and what that
 * bundle needs. */
void doctor_net(struct run *run, const char *text, struct checks *k);
/* doctor_mount.c: what a mount would find, and which are dead. */
void doctor_mount(struct run *run, struct checks *k);

#endif
