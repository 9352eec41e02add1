/* What bundle.c and its helpers share. Not for others. */
#ifndef ENGINE_BUNDLE_INTERNAL_H
#define ENGINE_BUNDLE_INTERNAL_H

#include "engine/bundle.h"

/*
 * A document of a bundle: from the cache, else from its registry, checked
 * against @d (a wrong one is asked for once more), and kept in the cache. Of
 * several processes that want it one downloads. *@ret is malloc()ed.
 */
struct doc_request {
	const struct digest *digest;
	bool manifest; /* else a blob of @size bytes */
	uint64_t size;
	const char *what; /* "manifest", "root" */
};
int bundle_doc(struct bundle *b, const struct doc_request *rq,
	       const struct op *op, char **ret, size_t *ret_len,
	       char **ret_media_type, struct error **errp);

/* What the cache itself has of a bundle's documents. */
int bundle_cached_manifest(struct cache *c, const struct digest *d,
			   struct manifest *ret, struct error **errp);
int bundle_cached_root(struct cache *c, const struct descriptor *config,
		       struct root *ret, struct error **errp);

#endif
