/*
 * Making room, and saying what must stay.
 *
 * Kept: what a running mount or command leases, what is pinned, partials that
 * are being written, and blobs that a mount passes through just now. Everything else can
 * be fetched again; the least recently used goes first, layers' folders before
 * all. What is removed is moved to trash/, the leases are looked at once more,
 * then it is deleted; readers that have it open go on.
 *
 * Which blobs a bundle has is known above this folder: expand() tells.
 *
 * Threads: one collection at a time, in all processes (-EBUSY).
 */
#ifndef CACHE_GC_H
#define CACHE_GC_H

#include "cache/cache.h"

struct digest_set;
void digest_set_add(struct digest_set *s, const struct digest *d);

struct gc_options {
	uint64_t max_bytes; /* of blobs and partials; UINT64_MAX: no limit */
	uint64_t min_free;  /* to be left free on the file system; 0: any */
	/* When something has to go, so much more goes, so that it need not be
	 * done again at once. */
	uint64_t headroom;
	/* A partial that was written to within this time has a writer; 0: an
	 * hour. One that loses its partial fetches again. */
	int64_t partial_age_s;
	bool dry_run;
	const struct op *op; /* NULL: cannot be cancelled */
	/*
	 * Add all that @manifest needs: root and trees, with @content its blobs
	 * too. The manifest, its root and layer trees, as far as
	 * cache_bundle_record() knows them, are added already. A failure ends
	 * the collection: nothing is removed on a guess. NULL: with @content
	 * everything is kept.
	 */
	int (*expand)(void *ctx, const struct digest *manifest, bool content,
		      struct digest_set *needed, struct error **errp);
	void *ctx;
	/* Told of each blob and partial that goes; may be NULL. */
	void (*removed)(void *ctx, const struct digest *d, uint64_t bytes);
};

struct gc_report {
	uint64_t bytes_before, bytes_after; /* of blobs and partials */
	uint64_t blobs, partials, layers;   /* removed */
	uint64_t leftovers;   /* removed from tmp/, trash/, quarantine/ … */
	uint64_t kept;        /* leased or pinned */
	uint64_t kept_linked; /* hardlinked: removing it frees nothing */
};

int cache_gc(struct cache *c, const struct gc_options *opt,
	     struct gc_report *ret, struct error **errp);

/* A pinned bundle is kept with all its content. -ENOENT: not recorded here. */
int cache_pin(struct cache *c, const struct digest *manifest, bool pinned,
	      struct error **errp);

/* The bundles that cache_bundle_record() knows, in no order. */
struct cache_bundle {
	struct digest manifest;
	int64_t used_s; /* seconds since 1970 */
	bool pinned;
};
int cache_bundle_each(struct cache *c,
		      int (*fn)(void *ctx, const struct cache_bundle *b),
		      void *ctx, struct error **errp);

#endif
