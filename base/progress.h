/*
 * Progress of long work: counters that any thread bumps, shown as one line on
 * a terminal by a thread of its own, four times a second: what is done, of how
 * much, how fast in the last seconds, and how long the rest takes at that rate.
 *
 * A NULL progress is valid everywhere and does nothing.
 */
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include <stdint.h>

struct progress;

/* @verb as in "pushing", static. @show false: counts only, prints nothing. */
struct progress *progress_new(const char *verb, int show);
void progress_total(struct progress *p, uint64_t files, uint64_t bytes);
void progress_add(struct progress *p, uint64_t files, uint64_t bytes);
/* Another kind of work begins, whose counts begin at 0: "sending", "blobs". */
void progress_phase(struct progress *p, const char *verb, const char *unit,
		    uint64_t files, uint64_t bytes);
/* So many bytes of the total need not be done. */
void progress_less(struct progress *p, uint64_t bytes);
/* Erase the line and free. */
void progress_free(struct progress *p);

#endif
