/*
 * What a copy takes along: a manifest or an index, the manifests that an index
 * names, what refers to any of these (traces, signatures), and the blobs of
 * them all. Every document here was hashed.
 *
 * Threads: made by one; immutable and shared after.
 */
#ifndef ENGINE_COPY_LIST_H
#define ENGINE_COPY_LIST_H

#include "base/map.h"
#include "storage/manifest_info.h"
#include "storage/registry.h"

struct copy_doc {
	struct manifest_bytes bytes;
	struct manifest_info info;
	bool is_referrer; /* found by its subject */
};

struct copy_list {
	/* What an index names stands before it, what refers to something
	 * behind that. */
	struct copy_doc **docs;
	size_t n_docs, cap_docs;
	size_t top; /* the one that was asked for */
	size_t n_referrers;
	struct error *left_out; /* why the first of these was; or NULL */
	size_t n_left_out;      /* referrers that cannot be, or lists of them */
	const struct descriptor **blobs; /* each once; of @docs */
	size_t n_blobs, cap_blobs;
	uint64_t bytes; /* of these */
	uint64_t doc_bytes;
	struct map seen_docs, seen_blobs; /* by digest */
};

/*
 * @d that does not exist is ERROR_NOT_FOUND; what it names and does not exist
 * ERROR_DOWNLOAD; a document that is not what its digest says -EBADMSG. Two
 * sizes of one blob, and more than a client can be expected to keep, are
 * refused. A referrer that is listed and is none any more is left out, and so is,
 * with what refers to it, one that would be refused.
 */
int copy_list_make(struct registry *from, const char *repo,
		   const struct digest *d, struct copy_list *ret,
		   const struct op *op, struct error **errp);
void copy_list_release(struct copy_list *l);
#define cleanup_copy_list __attribute__((cleanup(copy_list_release)))

#endif
