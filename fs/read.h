/*
 * Answers to reads: the operation, and what it shares with the requests that it
 * parks (fs/parking.h).
 *
 * Threads: any.
 */
#ifndef FS_READ_H
#define FS_READ_H

#include "fs/mount.h"

/* This thread's own, of at least @n bytes; NULL: no memory. */
char *read_buffer_get(size_t n);

void read_count_latency(struct mount *m, int64_t since_ns);
void read_reply(struct mount *m, fuse_req_t req, fuse_ino_t ino,
		const char *buf, size_t n, int64_t since_ns);
/* Counted, remembered and logged as a failure of @site. */
void read_reply_failure(struct mount *m, fuse_req_t req, fuse_ino_t ino,
			enum fs_site site, const struct error *err);
/* Somebody begins with this file: if it is a big weight file, its header comes
 * first, and tensors are read ahead whole. After the answer: it may take as long
 * as reading a header that is here. */
void read_expect(struct mount *m, const struct tree_node *n);

#endif
