/*
 * Fills the kernel's page cache with small files before they are read: what it
 * has it reads without asking us, ten times as fast.
 *
 * The kernel takes pages only of inodes that it knows, and what nobody will
 * read is waste. So a folder is filled when it was listed to its end, and a few
 * of its small files were read since: with the files of packs that are local,
 * in the order of the tree, by a thread of its own that reads them as a reader
 * does, verified. What is not local yet is taken up again when more of the
 * folder is read. A mount fills what -o fill_mb= says, at most a quarter of the
 * machine's memory, in ten minutes; the kernel takes that back like any page.
 *
 * Threads: any; filler_start(), filler_stop() and filler_free() from one.
 */
#ifndef FS_FILLER_H
#define FS_FILLER_H

#include "fs/mount.h"

struct filler;

/* NULL: there is nothing that it could do, which is no failure. @device: the
 * mount's, for the notifier (notifier.h). */
struct filler *filler_start(struct mount *m, int device);
/* It fills nothing more, and its notifier ends. May be NULL, as everywhere. */
void filler_stop(struct filler *f);
/* When it is stopped and nobody tells it anything any more. */
void filler_free(struct filler *f);

/* The folder was listed to its end. */
void filler_listed(struct filler *f, uint32_t folder);
/* The kernel was given bytes of this file. */
void filler_read(struct filler *f, const struct tree_node *n);

#endif
