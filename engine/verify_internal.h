/*
 * What the files of verify share. Not for others.
 *
 * verify.c        findings, and the order of things
 * verify_blob.c   the registry's blobs, and putting them there again
 * verify_store.c  externals at their stores
 * verify_tree.c   trees, merged trees, packs against their trees
 */
#ifndef ENGINE_VERIFY_INTERNAL_H
#define ENGINE_VERIFY_INTERNAL_H

#include "base/lock.h"
#include "base/map.h"
#include "base/pool.h"
#include "base/progress.h"
#include "engine/verify.h"

struct verify {
	struct bundle *b;
	const struct verify_options *o;
	bool deep;
	const struct op *op;
	struct fetcher *fetcher;
	struct pool *pool;
	struct progress *progress;
	struct mutex lock; /* of out, and around report() */
	struct verify_result *out;
	bool *unsound;   /* by layer: its tree could not be had, or is wrong */
	struct map uris; /* SHA-256 of those looked at */
};

/* What a finding is about. */
struct verify_about {
	const struct digest *digest, *found; /* or NULL */
	const char *path;                    /* or NULL */
	bool repaired;
};

/* One finding, one line. @about may be NULL. */
void verify_damaged(struct verify *v, const struct verify_about *about,
		    const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void verify_unchecked(struct verify *v, const struct verify_about *about,
		      const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* What the error of a failed look means: gone, wrong, or not to be asked. */
void verify_failed(struct verify *v, const struct verify_about *about, int r,
		   const struct error *err, const char *what);
/* The same, and what is there is known. */
void verify_differs(struct verify *v, const struct verify_about *about,
		    const char *what);

/* Hashes what passes. */
struct verify_sink {
	struct sink sink;
	struct hasher *hasher;
	struct progress *progress;
	uint64_t bytes;
};
void verify_sink_init(struct verify_sink *s, struct progress *p);
struct digest verify_sink_final(struct verify_sink *s);

void verify_blob(struct verify *v, const struct descriptor *d);
int verify_trees(struct verify *v, struct error **errp);
/* Those of one layer's tree. */
int verify_externals(struct verify *v, const struct tree *t,
		     struct error **errp);

#endif
