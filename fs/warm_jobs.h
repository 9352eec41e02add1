/*
 * Making files of a mount local on request: a client asks for a path again and
 * again until its files are here, and is told how far they are. What nobody asks
 * about any more is given up; what came stays.
 *
 * Threads: one, the status socket's.
 */
#ifndef FS_WARM_JOBS_H
#define FS_WARM_JOBS_H

#include "base/strbuf.h"
#include "fs/mount.h"

/* Ask at least so often. */
#define WARM_PATIENCE_MS 5000

struct warm_jobs;

struct warm_jobs *warm_jobs_new(struct mount *m);
/* One JSON object: that of "prefetch" in the status. */
void warm_jobs_answer(struct warm_jobs *w, const char *path,
		      struct strbuf *out);
/* Give up what is to be given up. Returns for how long, in ms, nothing else
 * will have to be; -1: for ever. */
int warm_jobs_look(struct warm_jobs *w);
void warm_jobs_free(struct warm_jobs *w);

#endif
