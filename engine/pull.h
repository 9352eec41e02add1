/*
 * Pull: make a role (or the files that match a glob) local, sealed and
 * durable, so that it works offline.
 */
#ifndef ENGINE_PULL_H
#define ENGINE_PULL_H

#include "engine/bundle.h"

struct pull_result {
	uint64_t files, bytes;
	uint64_t bytes_network;
};

/* @glob NULL: all. Externals are left out unless @externals. */
int pull(struct role_view *v, const char *glob, bool externals,
	 int show_progress, struct pull_result *ret, const struct op *op,
	 struct error **errp);

#endif
