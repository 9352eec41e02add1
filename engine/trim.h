/*
 * Keeping the cache below cache_max_size, and cache_min_free of its disk free,
 * unasked: by a command when it has brought something, and by a mount while it
 * lives. What goes is what gc would remove; a tenth more goes than has to.
 *
 * Threads: a trimmer has one of its own, which no reader ever waits for.
 */
#ifndef ENGINE_TRIM_H
#define ENGINE_TRIM_H

#include "engine/session.h"

/* Once, now. What cannot be done is logged, no more. */
void trim(struct session *s, const struct op *op);

struct trimmer;
/* @let_go, which may be NULL, is called before blobs are removed, for whoever
 * holds some that he could do without. Without limits it only closes
 * what others removed. NULL: there is no thread to do it. */
struct trimmer *trimmer_start(struct session *s, void (*let_go)(void *ctx),
			      void *ctx);
/* @t may be NULL. Before the session is freed. */
void trimmer_stop(struct trimmer *t);

#endif
