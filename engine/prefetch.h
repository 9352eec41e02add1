/*
 * Bringing files of an open bundle into the cache while others read it: in the
 * background class of the fetcher, which yields to every reader.
 *
 * Threads: a prefetch has one of its own; the functions may be called from any,
 * prefetch_stop() once.
 */
#ifndef ENGINE_PREFETCH_H
#define ENGINE_PREFETCH_H

#include "engine/bundle.h"

enum prefetch_what {
	PREFETCH_NOTHING,
	PREFETCH_FILES,    /* all, or those beneath a path */
	PREFETCH_LIST,     /* those of a list, in its order (file_list.h) */
	PREFETCH_TRACE,    /* what a trace says, in its order (replay.h) */
	PREFETCH_ATTACHED, /* the same, of the bundle's own (trace_referrer.h) */
};

struct prefetch_spec {
	enum prefetch_what what;
	const char *beneath; /* NULL: all files of the role */
	const char *text;    /* the list, or the trace, and a NUL behind */
	size_t text_len;
	bool persistent; /* until all is there; else until all could be had */
	bool paused;     /* to begin with */
};

enum prefetch_state {
	PREFETCH_RUNNING,
	PREFETCH_PAUSED,
	PREFETCH_WAITING, /* it did not get everything, and will try again */
	PREFETCH_FAILED,  /* it did not get everything */
	PREFETCH_DONE,
	PREFETCH_STATES
};
extern const char *const prefetch_state_names[PREFETCH_STATES];

struct prefetch_report {
	enum prefetch_state state;
	uint64_t files, bytes; /* of them */
	uint64_t skipped;      /* lines of a list or trace that name none */
	uint64_t left; /* bytes of their sources, or rows, that are not here */
	char why[256]; /* of the last failure, or "" */
};

struct prefetch;

/* Can @text be read, as a list or a trace? -EINVAL, -EFBIG: it cannot. */
int prefetch_check(enum prefetch_what what, const char *text, size_t n,
		   struct error **errp);
/* Files of @v, externals too. @v outlives it; all of @spec is copied. NULL:
 * there is no thread to do it. */
struct prefetch *prefetch_start(struct role_view *v,
				const struct prefetch_spec *spec);
/* While it is paused nothing is asked for, and what was under way is given up. */
void prefetch_pause(struct prefetch *p, bool paused);
void prefetch_look(struct prefetch *p, struct prefetch_report *ret);
/* @p may be NULL. What came stays. */
void prefetch_stop(struct prefetch *p);

#endif
