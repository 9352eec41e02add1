/*
 * Which of the two data paths a mount takes (open.h): what was asked for, what
 * this kernel and these rights allow, and what the role's files are like.
 *
 * Threads: any.
 */
#ifndef FS_DATA_PATH_H
#define FS_DATA_PATH_H

#include "fs/mount.h"

struct data_path {
	bool passthrough;
	bool refused;    /* it was asked for, and cannot be */
	const char *why; /* in words, never freed */
};

/* @conn: as INIT has it. The same for each worker of a mount. */
struct data_path data_path_choose(const struct mount *m,
				  const struct fuse_conn_info *conn);

#endif
