/*
 * A trace (trace.h) applied to a role: its rows become ranges of the role's
 * sources, which are made local in that order. A trace is not believed to be of
 * this bundle, or of any: what names nothing here is counted and passed over.
 *
 * Threads: made and run by one; then any may look.
 */
#ifndef ENGINE_REPLAY_H
#define ENGINE_REPLAY_H

#include "engine/source_set.h"

/* Rows beyond these are passed over: 12 bytes each. */
#define REPLAY_ROWS_MAX (1u << 20)
/* Of all traces together, also those that are named again: what lines may cost
 * of which each names all of a big file. */
#define REPLAY_CHUNKS_MAX (1u << 24)

struct replay;

struct replay_counts {
	uint64_t files, bytes; /* that are named, each once */
	uint64_t skipped;      /* rows that name nothing in the role */
};

struct replay *replay_new(struct role_view *v);
void replay_free(struct replay *p);
static inline void replay_freep(struct replay **p)
{
	if (*p)
		replay_free(*p);
	*p = 0;
}
#define cleanup_replay __attribute__((cleanup(replay_freep)))

/* All rows of a trace, behind those that were added before. -EINVAL, -EFBIG: it
 * is none; -ECANCELED. */
int replay_add(struct replay *p, const char *text, size_t n,
	       const struct op *op, struct error **errp);
void replay_count(const struct replay *p, struct replay_counts *ret);
/* Bring them: 0 when all are there, or the first failure. */
int replay_run(struct replay *p, struct fetcher *f, const struct op *op,
	       struct error **errp);
/* Bytes that are not here. */
uint64_t replay_missing(const struct replay *p);

#endif
