/*
 * Bringing files of an open bundle into the cache while others read it: in the
 * background class of the fetcher, which yields to every reader.
 *
 * Threads: a prefetch has one of its own; the functions may be called from any,
 * prefetch_stop() once.
 */
#ifndef ENGINE_PREFETCH_H
#define ENGINE_PREFETCH_H

#include "engine/source_set.h"

enum prefetch_state {
	PREFETCH_RUNNING,
	PREFETCH_WAITING, /* it did not get everything, and will try again */
	PREFETCH_FAILED,  /* it did not get everything */
	PREFETCH_DONE,
	PREFETCH_STATES
};
extern const char *const prefetch_state_names[PREFETCH_STATES];

struct prefetch_report {
	enum prefetch_state state;
	uint64_t files, bytes; /* of them */
	uint64_t left;         /* bytes of their sources that are not here */
	char why[256];         /* of the last failure, or "" */
};

struct prefetch;

/* All files of @v that are @beneath a path (NULL: all), externals too. Until all
 * is there or, without @persistent, could be had. @v outlives it; @beneath is
 * copied. NULL: there is no thread to do it. */
struct prefetch *prefetch_start(struct role_view *v, const char *beneath,
				bool persistent);
void prefetch_look(struct prefetch *p, struct prefetch_report *ret);
/* @p may be NULL. What came stays. */
void prefetch_stop(struct prefetch *p);

#endif
