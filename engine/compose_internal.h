/* The steps of a composition. Not for others. */
#ifndef ENGINE_COMPOSE_INTERNAL_H
#define ENGINE_COMPOSE_INTERNAL_H

#include "base/map.h"
#include "engine/compose.h"
#include "engine/tree_builder.h"

/* What the steps of one composition share. */
struct composer {
	const struct inventory *inv;
	const struct bundle_file *bf;
	const struct plan *plan;
	const struct compose_options *o;
	struct composed *out;
	uint64_t part_size;

	struct packed {
		struct digest digest;
		struct digest *chunks;
		uint32_t n_chunks;
	} * packed; /* as plan->packs */

	/* Distinct contents that are files too big for one blob. */
	struct run {
		const struct inv_entry *inv;
		struct tree_part *parts;
		uint32_t n;
	} * runs;
	size_t n_runs;
	struct map run_by_digest;

	struct map blob_by_digest; /* those in out->blobs */
	size_t cap_blobs;
	struct map external_by_uri;
	struct root root;
	struct digest root_digest;
};

/* compose.c: the parts of a file too big for one blob. */
const struct run *compose_run(const struct composer *c,
			      const struct inv_entry *e);

/* compose_trees.c: the layers' trees, the roles', and what the root says. */
int compose_trees(struct composer *c, struct error **errp);

/* compose_blobs.c: what the manifest lists, the root, the manifest. */
int compose_blobs(struct composer *c, struct error **errp);
int compose_manifest(struct composer *c, struct error **errp);

#endif
