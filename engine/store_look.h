/*
 * Whether the stores can be reached in which a bundle's external files lie.
 *
 * Threads: one.
 */
#ifndef ENGINE_STORE_LOOK_H
#define ENGINE_STORE_LOOK_H

#include "engine/bundle.h"

struct store_look {
	const char *store;       /* "s3://bucket", "az://account/container" */
	const char *uri;         /* the object that was asked for */
	const struct error *err; /* NULL: it is there */
};

/*
 * Ask each bucket, container, or file root's machine for one object of it.
 * Offline only file roots are: -ENOTCONN for others. -errno when the bundle's trees cannot be had.
 */
int bundle_look_at_stores(struct bundle *b, const struct op *op,
			  void (*each)(void *ctx, const struct store_look *l),
			  void *ctx, struct error **errp);

#endif
