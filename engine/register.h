/*
 * Registering what is in a store already: `--external path=uri` says that the
 * file `path` of the bundle is the object at `uri`.
 */
#ifndef ENGINE_REGISTER_H
#define ENGINE_REGISTER_H

#include "base/op.h"
#include "engine/plan.h"
#include "storage/object_store.h"

/*
 * Add the object to the inventory under its path. With @read it is streamed
 * once, for its digest and its chunks' (-ESTALE when it changes meanwhile), and
 * a file of the folder at that path must be the same, -EINVAL; without, only
 * its size is asked for, and a file of the folder is left as it is. Where there
 * is no store for the URI, the file must be in the folder; a warning says so.
 */
int register_external(const struct object_stores *stores,
		      const struct plan_external *x, bool read,
		      const struct bundle_file *bf, struct inventory *inv,
		      const struct op *op, struct error **errp);

#endif
