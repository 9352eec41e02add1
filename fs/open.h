/*
 * The two data paths, and opening.
 *
 * The kernel makes them exclusive for a whole mount: OPEN once answered with
 * ENOSYS never comes again, and passthrough needs OPEN.
 *
 * cached       OPEN and OPENDIR are ENOSYS; reads are messages until the
 *              kernel has the pages, and then nothing is. Right for many small
 *              files, and all that a mount without privilege can have.
 * passthrough  a file that is complete, sealed and has one link is read by the
 *              kernel itself; every open is a message. Right for big files.
 *
 * Passthrough is per inode and, while an inode is open (a mapping keeps it so),
 * final: the kernel answers EIO to an open in the other mode, and to a second
 * backing id. So the first open decides, later ones follow, and whatever does
 * not fit is declined to cached, never failed. Inodes without opens keep their
 * backing id and descriptor, the longest unused are let go first:
 *
 *   unknown ──open, fits──▶ passthrough ⇄ idle ──evicted──▶ unknown
 *      └──open, does not──▶ cached ──last release──▶ unknown
 *
 * Threads: any.
 */
#ifndef FS_OPEN_H
#define FS_OPEN_H

#include "fs/mount.h"

struct opens;

struct opens *opens_new(struct mount *m);
/* The kernel lets go of the backing ids when the mount ends. */
void opens_free(struct opens *o);

/* INIT: what is asked of the kernel, and the choice of the path. */
void open_init(void *userdata, struct fuse_conn_info *conn);
/* After the first request was served: -EOPNOTSUPP when io=passthrough was asked
 * for and cannot be; -EPROTO when that was no INIT. */
int opens_check_init(struct opens *o, struct error **errp);

/* A successor, before it serves: take on what is open. */
void opens_adopt(struct opens *o);

/* Of the backings of files that nobody has open: until one is opened again, its
 * blob may be removed. */
void opens_let_go(struct opens *o);

struct opens_report {
	bool passthrough;
	const char *why;
	const char *why_not; /* the kernel declined since; NULL */
	size_t backing;      /* inodes with a backing id */
};
void opens_get_report(struct opens *o, struct opens_report *ret);

#endif
