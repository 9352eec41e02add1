/*
 * A mount that somebody else made, who may do what we may not: its device,
 * /dev/fuse opened and mounted, comes as an open descriptor and is named by
 * "/dev/fd/N" in place of a folder.
 *
 * Where it lies is for the kernel to say (since Linux 6.16), and may lie where
 * this process cannot see it, in another mount namespace.
 *
 * Threads: any.
 */
#ifndef FS_RECEIVED_H
#define FS_RECEIVED_H

#include <stdbool.h>

#include "base/error.h"

/* The N of "/dev/fd/N", or -1: @path names a folder. */
int received_number(const char *path);
/* From here on reads of @fd wait. -EINVAL: it is no device of a mount, or of one
 * that is gone; -EBADF: it is not open. */
int received_check(int fd, struct error **errp);
/* Of the superblock. False: the kernel does not say. */
bool received_superblock(int fd, unsigned *ret_major, unsigned *ret_minor);
/* The folder where it is mounted, heap; NULL: none that is seen from here. */
char *received_folder(int fd);

/* The same of the text of /proc/PID/fdinfo/FD, for tests. */
bool received_parse_fdinfo(const char *text, unsigned *ret_major,
			   unsigned *ret_minor);

#endif
