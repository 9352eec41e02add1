/*
 * A source folder as a push sees it: its bundle file and its inventory, hashed
 * through the cache of earlier scans.
 *
 * Threads: one.
 */
#ifndef ENGINE_WORKSPACE_H
#define ENGINE_WORKSPACE_H

#include "engine/plan.h"
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
	/* --external: files that are in a store already, on disk or not. Each
	 * is read there once, so that the inventory says what it is. */
	const struct plan_external *externals;
	size_t n_externals;
	bool sizes_only; /* of externals, from the store's stat; to look at */
	/* Externals that were never fetched to the folder (engine/unfetched.h)
	 * are a warning; else -EINVAL. */
	bool unfetched_warn;
	struct progress *progress;
	const struct op *op;
};

int workspace_open(struct session *s, const char *dir,
		   const struct workspace_options *o, struct workspace *ret,
		   struct error **errp);
void workspace_release(struct workspace *ws);
#define cleanup_workspace __attribute__((cleanup(workspace_release)))

#endif
