/*
 * A blob of one registry as the feed of an upload to another: read in windows,
 * hashed from its first byte on, whatever the upload begins with. The last
 * window is handed out only when the whole hashes to what was asked for, so
 * that no registry is ever given the last bytes of a wrong blob; and what a
 * retry reads again is what was hashed, or -EBADMSG.
 *
 * Threads: one at a time.
 */
#ifndef ENGINE_COPY_FEED_H
#define ENGINE_COPY_FEED_H

#include "base/digest.h"
#include "storage/registry.h"

#define COPY_WINDOW (4u << 20)

struct copy_feed {
	struct feed feed;
	struct registry *from;
	const char *repo;
	const struct descriptor *desc;
	const struct op *op;
	struct hasher *hasher;  /* of all windows seen */
	struct digest *windows; /* each of these */
	size_t n_windows, cap_windows;
	char *buf;       /* a window, of COPY_WINDOW bytes */
	uint64_t buf_at; /* where it begins */
	size_t buf_len;  /* 0: none */
};

/* @desc, @repo and @op outlive it. */
void copy_feed_init(struct copy_feed *f, struct registry *from,
		    const char *repo, const struct descriptor *desc,
		    const struct op *op);
void copy_feed_release(struct copy_feed *f);
#define cleanup_copy_feed __attribute__((cleanup(copy_feed_release)))

#endif
