/*
 * What the files of verify_cache() share; not for others.
 *
 * verify_cache.c         the scan; which bundles and files need what is damaged
 * verify_cache_repair.c  getting it again
 */
#ifndef ENGINE_VERIFY_CACHE_INTERNAL_H
#define ENGINE_VERIFY_CACHE_INTERNAL_H

#include "base/map.h"
#include "base/progress.h"
#include "engine/bundle_internal.h"
#include "engine/verify_cache.h"

struct checking {
	struct session *session;
	struct cache *c;
	bool repair;
	struct verify_cache_result *out;
	const struct op *op;
	struct map by_digest;  /* digest → struct check_item, then ->same */
	struct map references; /* manifest → where it came from */
	struct digest *bundles;
	size_t n_bundles, cap_bundles;
	bool unknown; /* what some bundle needs could not be learned */

	/* The bundle that is looked at. */
	struct digest bundle;
	const char *reference; /* or NULL */
	const struct root *root;
	struct bundle *open;       /* NULL: not yet, or it cannot be: */
	struct error *cannot_open; /* why */
};

/* The findings of a content; NULL: none. */
struct check_item *check_items(const struct checking *k,
			       const struct digest *d);

/*
 * Each of these repairs what is damaged of what it is given, and notes in the
 * items what came of it. The bundle that is looked at is opened when it is
 * needed.
 */

/* The manifest or the root. */
void check_repair_document(struct checking *k, const struct digest *d);
void check_repair_role(struct checking *k, const struct root_role *role);
void check_repair_layer(struct checking *k, size_t layer);
/* Fails for nothing but the end of the operation. */
int check_repair_sources(struct checking *k, const struct tree *t,
			 struct check_item *const *by_source,
			 struct error **errp);
/* The bundle is done with. */
void check_close(struct checking *k);

#endif
