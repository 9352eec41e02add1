/*
 * A feed whose bytes are counted when they are read for the first time, for
 * who watches an upload. What a retry reads again is not counted again.
 *
 * Threads: as a feed's.
 */
#ifndef ENGINE_COUNTED_FEED_H
#define ENGINE_COUNTED_FEED_H

#include "base/progress.h"
#include "storage/sink.h"

struct counted_feed {
	struct feed feed;
	struct feed *inner;
	struct progress *progress;
	uint64_t seen;
};

void counted_feed_init(struct counted_feed *c, struct feed *inner,
		       struct progress *progress);
/* Sent: one more, and what of it nobody read, as it was there already. */
void counted_feed_end(struct counted_feed *c);

#endif
