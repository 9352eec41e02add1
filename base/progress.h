/*
 * Progress of long work: counters that any thread bumps, shown as one line on
 * a terminal by a thread of its own, four times a second.
 *
 * A NULL progress is valid everywhere and does nothing.
 */
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include <stdint.h>

struct progress;

/* @verb as in "pushing". @show false: counts only, prints nothing. */
struct progress *progress_new(const char *verb, int show);
void progress_total(struct progress *p, uint64_t files, uint64_t bytes);
void progress_add(struct progress *p, uint64_t files, uint64_t bytes);
/* What was added so far: for the summary of a run. */
void progress_counts(struct progress *p, uint64_t *ret_files,
		     uint64_t *ret_bytes);
/* Erase the line and free. */
void progress_free(struct progress *p);

#endif
