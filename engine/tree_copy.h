/*
 * A copy of a tree that nothing else can change.
 *
 * A tree is read in place for as long as a mount lives, so the bytes that were
 * hashed must be the bytes that are read. A file of the cache is not: it can be
 * truncated, which makes touching a mapping of it SIGBUS, be rewritten, or be
 * read again from a disk that decays. Trees up to TREE_MEMORY_MAX are copied
 * into sealed memory; larger ones, of more than five million files, into a file
 * of the cache that has no name.
 *
 * Threads: a copy belongs to whoever makes it.
 */
#ifndef ENGINE_TREE_COPY_H
#define ENGINE_TREE_COPY_H

#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/error.h"
#include "cache/cache.h"

#define TREE_MEMORY_MAX (512u << 20)

struct tree_copy {
	int fd;
	uint64_t size, done;
	struct hasher *hasher;
};
#define TREE_COPY_INIT   \
	{                \
		.fd = -1 \
	}

int tree_copy_begin(struct cache *c, uint64_t size, struct tree_copy *ret,
		    struct error **errp);
/* The next bytes: hashed, and copied from the very memory that was hashed. */
int tree_copy_add(struct tree_copy *tc, const void *buf, size_t n,
		  struct error **errp);
/* -EBADMSG when what was added is not @d; else a descriptor for
 * tree_open_fd(). */
int tree_copy_finish(struct tree_copy *tc, const struct digest *d, int *ret_fd,
		     struct error **errp);
void tree_copy_release(struct tree_copy *tc);
#define cleanup_tree_copy __attribute__((cleanup(tree_copy_release)))

/* All of it from @fd; too short is -EBADMSG. */
int tree_copy_file(struct cache *c, int fd, const struct digest *d,
		   uint64_t size, int *ret_fd, struct error **errp);

#endif
