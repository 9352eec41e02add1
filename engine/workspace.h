/*
 * A source folder as a push sees it: its bundle file and its inventory, hashed
 * through the cache of earlier scans.
 *
 * Threads: one.
 */
#ifndef ENGINE_WORKSPACE_H
#define ENGINE_WORKSPACE_H

#include "engine/scan.h"
#include "engine/session.h"

struct workspace {
	struct bundle_file bf;
	struct inventory inv;
};

#define WORKSPACE_INIT                \
	{                             \
		.inv = {.dirfd = -1}, \
	}

struct workspace_options {
	bool follow_symlinks;
	struct progress *progress;
	const struct op *op;
};

int workspace_open(struct session *s, const char *dir,
		   const struct workspace_options *o, struct workspace *ret,
		   struct error **errp);
void workspace_release(struct workspace *ws);
#define cleanup_workspace __attribute__((cleanup(workspace_release)))

#endif
