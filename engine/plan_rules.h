/*
 * The rules of planning, by plan version: which contents are blobs of their
 * own, and where packs end (docs/format.md). Those of a version that was
 * released never change: by them a folder has the same digest for ever,
 * whatever later versions do better.
 */
#ifndef ENGINE_PLAN_RULES_H
#define ENGINE_PLAN_RULES_H

#include "engine/pack.h"

struct plan_rules {
	uint32_t version;       /* the root says it */
	uint64_t own_blob_min;  /* smaller contents travel in packs */
	uint64_t max_own_blobs; /* a part counts as one */
	/* As pack_step() and pack_cut(). */
	unsigned (*step)(const struct pack_layer *layers, size_t n_layers);
	size_t (*cut)(const struct pack_item *items, size_t n, unsigned k);
};

const struct plan_rules *plan_rules_newest(void);
/* By the number that a user wrote. -EINVAL, naming those that there are. */
int plan_rules_find(const char *text, const struct plan_rules **ret,
		    struct error **errp);

#endif
