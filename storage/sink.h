/*
 * Streams of bytes between a store and whoever reads or feeds it. Nothing
 * holds a whole blob in memory.
 */
#ifndef STORAGE_SINK_H
#define STORAGE_SINK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/op.h"

/*
 * Where a ranged read delivers, in order, on the thread that called the read.
 * write() returns 0 or -errno, which ends the read with that value. A read
 * that is retried inside a store goes on at the first byte not yet delivered:
 * a sink never sees a byte twice.
 */
struct sink {
	int (*write)(struct sink *s, const void *buf, size_t n,
		     struct error **errp);
};

/*
 * What an upload reads: random access, so that a retry or a redirect can go
 * back. pread() fills exactly @n bytes or fails. Any thread, one at a time.
 */
struct feed {
	uint64_t size;
	int (*pread)(struct feed *f, void *buf, size_t n, uint64_t off,
		     struct error **errp);
};

/* Bytes in memory, bytes of a descriptor. The caller keeps both alive. */
struct feed_mem {
	struct feed feed;
	const void *p;
};
void feed_mem_init(struct feed_mem *f, const void *p, size_t n);

struct feed_fd {
	struct feed feed;
	int fd;
	uint64_t off;
};
void feed_fd_init(struct feed_fd *f, int fd, uint64_t off, uint64_t size);

/* Collects into memory, refuses more than @max bytes (-EFBIG). */
struct sink_mem {
	struct sink sink;
	char *buf; /* NULL, or heap, NUL-ended; free() it */
	size_t len, max;
};
void sink_mem_init(struct sink_mem *s, size_t max);

#endif
