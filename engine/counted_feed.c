#include "engine/counted_feed.h"

static int counted_pread(struct feed *f, void *buf, size_t n, uint64_t off,
			 struct error **errp)
{
	struct counted_feed *c = (struct counted_feed *)f;
	int r = c->inner->pread(c->inner, buf, n, off, errp);

	if (r >= 0 && off + n > c->seen) {
		progress_add(c->progress, 0, off + n - c->seen);
		c->seen = off + n;
	}
	return r;
}

void counted_feed_init(struct counted_feed *c, struct feed *inner,
		       struct progress *progress)
{
	*c = (struct counted_feed){
		.feed = {.size = inner->size, .pread = counted_pread},
		.inner = inner,
		.progress = progress,
	};
}

void counted_feed_end(struct counted_feed *c)
{
	progress_add(c->progress, 1, c->feed.size - c->seen);
}
