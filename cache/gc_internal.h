#ifndef CACHE_GC_INTERNAL_H
#define CACHE_GC_INTERNAL_H

#include "cache/gc.h"
#include "cache/internal.h"

struct digest_set {
	struct map digests;
	bool everything;
};
bool digest_set_has(const struct digest_set *s, const struct digest *d);
void digest_set_release(struct digest_set *s);

/* What leases and pins need now. Dead leases are removed. */
int gc_mark(struct cache *c, const struct gc_options *opt,
	    struct digest_set *needed, struct error **errp);

/* Files of tmp/, trash/, quarantine/ and hashes/ that nobody misses. */
uint64_t gc_leftovers(struct cache *c, bool dry_run);
/* bundles/ without a manifest, and layers/ that are not needed. */
uint64_t gc_layers(struct cache *c, const struct digest_set *needed,
		   bool dry_run);
void gc_bundles(struct cache *c, const struct digest_set *needed);

#endif
