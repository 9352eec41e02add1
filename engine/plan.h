/*
 * Where each file goes: own blob (or parts), pack, external. A pure function
 * of the inventory, the bundle file and the rules (engine/plan_rules.h).
 */
#ifndef ENGINE_PLAN_H
#define ENGINE_PLAN_H

#include "engine/plan_rules.h"
#include "engine/root.h"
#include "engine/scan.h"

enum plan_place {
	PLACE_NONE, /* directories, symlinks, empty files */
	PLACE_BLOB, /* its own blob, or parts */
	PLACE_PACK,
	PLACE_EXTERNAL,
};

struct plan_entry {
	const struct inv_entry *inv;
	enum plan_place place;
	const char *reason; /* a few words, static */
	uint32_t pack;      /* PLACE_PACK: index into plan.packs */
	uint32_t pack_item; /* and into its items (of the content) */
	char *uri;          /* PLACE_EXTERNAL, normal form */
	enum tree_tier tier;
	bool registered; /* external that is there already (--external) */
};

struct plan_pack {
	uint32_t layer;
	uint32_t number;         /* within the layer, from 0 */
	struct pack_item *items; /* user: const struct inv_entry * */
	size_t n;
};

struct plan {
	const struct plan_rules *rules;
	struct plan_entry *entries; /* as in the inventory, same order */
	size_t n;
	struct plan_pack *packs; /* by layer, then number */
	size_t n_packs;
	unsigned pack_step; /* the doubling step, 0–4 */
	/* Distinct own blobs, a file of parts counted as its parts. */
	size_t n_blob_descriptors;
	size_t n_trees; /* distinct: of layers, and merged ones of roles */
};

/* --external path=uri */
struct plan_external {
	const char *path;
	const char *uri;
};

struct plan_options {
	const struct plan_rules *rules; /* NULL: the newest */
	uint64_t part_size;             /* 0: PART_SIZE; tests use less */
	bool pack_nothing; /* bench only: every file its own blob */
	const struct plan_external *externals;
	size_t n_externals;
};

/*
 * The inventory must be hashed, and outlive the plan. What the format cannot
 * hold is -EINVAL with advice: a packed file over the part size, more than
 * MAX_LAYER_DESCRIPTORS descriptors or MAX_TREES trees, an external file whose
 * name leaves no room for its pointer's. An --external for a path that is not
 * in the inventory is -EINVAL too: inventory_add() comes first.
 */
int plan_make(const struct inventory *inv, const struct bundle_file *bf,
	      const struct plan_options *o, struct plan *ret,
	      struct error **errp);
void plan_release(struct plan *p);
#define cleanup_plan __attribute__((cleanup(plan_release)))

#endif
