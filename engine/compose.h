/*
 * Compose: from a plan to every byte that a push sends, before anything is
 * sent. Trees, root and manifest are made in memory; contents of files and
 * packs are read again when they are uploaded.
 *
 * Threads: one; what it returns is read by many.
 */
#ifndef ENGINE_COMPOSE_H
#define ENGINE_COMPOSE_H

#include "base/pool.h"
#include "base/progress.h"
#include "engine/plan.h"

/* A blob of the manifest, and where its bytes come from: memory, a range of a
 * file, or a pack. */
struct composed_blob {
	struct descriptor desc;
	const void *mem; /* or NULL */
	const struct inv_entry *file;
	uint64_t file_off;
	struct pack *pack; /* or NULL */
};

struct composed {
	const struct inventory *inv;
	struct digest digest; /* of the manifest: the bundle's identity */
	struct strbuf manifest;
	struct strbuf root;
	struct composed_blob *blobs; /* the manifest's layers, then the root */
	size_t n_blobs;
	const struct plan_entry **externals; /* each URI once */
	size_t n_externals;
	uint64_t files, bytes;

	/* What the blobs point into. */
	struct pack **packs;
	size_t n_packs;
	struct composed_tree {
		void *mem;
		struct digest digest;
	} * trees;
	size_t n_trees;
};

struct compose_options {
	uint64_t part_size; /* 0: PART_SIZE; tests use less */
	bool no_budget;     /* bench only: more blobs than the format holds */
	struct pool *pool;
	/* NULL, or what packs hashed to: one whose list of files, modes and
	 * digests is the same is not read again. */
	struct hashes *packs;
	struct progress *progress; /* bytes of packs and parts read */
};

/* A file that is not what the inventory says any more is -ESTALE (kind
 * ERROR_VALIDATION), by name. @inv and @plan outlive @ret. */
int compose(const struct inventory *inv, const struct bundle_file *bf,
	    const struct plan *plan, const struct compose_options *o,
	    struct composed *ret, struct error **errp);
void composed_release(struct composed *c);
#define cleanup_composed __attribute__((cleanup(composed_release)))

#endif
