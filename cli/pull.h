/*
 * Filling the cache, for the verbs that do it.
 *
 * Threads: one.
 */
#ifndef CLI_PULL_H
#define CLI_PULL_H

#include "cli/run.h"

/* The files of @v that match (@glob NULL: all), and what is printed of it;
 * @done as in "pulled". */
int run_pull(struct run *run, struct role_view *v, const char *glob,
	     bool externals, const char *done, struct error **errp);

#endif
