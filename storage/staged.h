/*
 * A file that gets its name only when it is whole: written without a name (or,
 * where the file system has no O_TMPFILE, under a temporary one), hashed while
 * it is written, flushed, then linked. A kill leaves nothing behind; temporary
 * names left by one are removed by the next staged_open() in that directory.
 *
 * Threads: one object, one thread. Many processes may stage in one directory.
 */
#ifndef STORAGE_STAGED_H
#define STORAGE_STAGED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/error.h"
#include "base/op.h"
#include "storage/sink.h"

#define STAGED_PREFIX ".mops-tmp-" /* of temporary names */

struct staged {
	int dirfd; /* the caller's, kept open */
	int fd;
	char *temp; /* NULL: the file has no name yet */
	struct hasher *hasher;
	uint64_t size;
};

#define STAGED_INIT                   \
	{                             \
		.dirfd = -1, .fd = -1 \
	}

/* @named: do not even try O_TMPFILE. Mode is 0666 less the umask. */
int staged_open(struct staged *s, int dirfd, bool named, struct error **errp);

/* Append all of @feed. Looks at @op between pieces. */
int staged_fill(struct staged *s, struct feed *feed, const struct op *op,
		struct error **errp);

/*
 * Flush, then link as @name in the directory; the content must hash to @want
 * (-EBADMSG, nothing linked). A name that exists is kept when its content is
 * what was asked for, and is replaced when it is not and @replace is true
 * (-EEXIST otherwise). The directory itself is not flushed.
 */
int staged_link(struct staged *s, const char *name, const struct digest *want,
		bool replace, struct error **errp);

/* Gives back what is not committed. */
void staged_release(struct staged *s);
#define cleanup_staged __attribute__((cleanup(staged_release)))

#endif
