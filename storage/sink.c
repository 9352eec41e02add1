#include "storage/sink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/io.h"

static int feed_mem_pread(struct feed *feed, void *buf, size_t n, uint64_t off,
			  struct error **errp)
{
	struct feed_mem *f = (struct feed_mem *)feed;

	if (off > feed->size || n > feed->size - off)
		return error_set(errp, EIO, "read beyond the end of a buffer");
	if (n)
		memcpy(buf, (const char *)f->p + off, n);
	return 0;
}

void feed_mem_init(struct feed_mem *f, const void *p, size_t n)
{
	*f = (struct feed_mem){
		.feed = {.size = n, .pread = feed_mem_pread},
		.p = p,
	};
}

static int feed_fd_pread(struct feed *feed, void *buf, size_t n, uint64_t off,
			 struct error **errp)
{
	struct feed_fd *f = (struct feed_fd *)feed;
	ssize_t got;

	if (off > feed->size || n > feed->size - off)
		return error_set(errp, EIO, "read beyond the end of a range");
	got = io_pread_full(f->fd, buf, n, f->off + off);
	if (got < 0)
		return error_set_errno(errp, (int)-got, "cannot read a file");
	if ((size_t)got < n)
		return error_set(errp, EIO, "file became shorter");
	return 0;
}

void feed_fd_init(struct feed_fd *f, int fd, uint64_t off, uint64_t size)
{
	*f = (struct feed_fd){
		.feed = {.size = size, .pread = feed_fd_pread},
		.fd = fd,
		.off = off,
	};
}

/* Doubling steps, never past @max; one byte more for the NUL. */
static size_t grown(size_t len, size_t max)
{
	size_t cap = 4096;

	while (cap < len)
		cap *= 2;
	return MIN(cap, max) + 1;
}

static int sink_mem_write(struct sink *sink, const void *buf, size_t n,
			  struct error **errp)
{
	struct sink_mem *s = (struct sink_mem *)sink;
	char *p;

	if (n > s->max - s->len)
		return error_set(errp, EFBIG, "more than %zu bytes", s->max);
	if (!s->buf || grown(s->len + n, s->max) > grown(s->len, s->max)) {
		p = realloc(s->buf, grown(s->len + n, s->max));
		if (!p)
			return error_set_errno(errp, ENOMEM, "%zu bytes",
					       s->len + n);
		s->buf = p;
	}
	if (n)
		memcpy(s->buf + s->len, buf, n);
	s->len += n;
	s->buf[s->len] = '\0';
	return 0;
}

void sink_mem_init(struct sink_mem *s, size_t max)
{
	*s = (struct sink_mem){
		.sink = {.write = sink_mem_write},
		.max = max,
	};
}
