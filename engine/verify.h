/*
 * Verify a bundle at its registry: every blob exists with its size; deep: every
 * byte hashed, pack headers compared with the tree, merged trees rebuilt.
 * Pointers by stat, saying what could be checked.
 */
#ifndef ENGINE_VERIFY_H
#define ENGINE_VERIFY_H

#include "engine/bundle.h"

struct verify_result {
	uint64_t blobs, bytes;
	uint64_t externals;
	/* Of these without a finding, by what was compared: all bytes; the
	 * store's own checksum; what the uploader noted; size alone. */
	uint64_t externals_hashed, externals_by_checksum, externals_by_metadata,
		externals_by_size;
	uint64_t damaged;   /* missing, wrong size, wrong digest */
	uint64_t repaired;  /* of these */
	uint64_t unchecked; /* could not be asked */
};

/* What is wrong, or could not be looked at. */
struct verify_finding {
	bool damaged;     /* else: not checked */
	bool repaired;    /* not any more */
	const char *line; /* all of it, for people */
	/* As far as it is about one of these; else NULL. */
	const struct digest *digest; /* what is expected under this name, */
	const struct digest *found;  /* and what is there */
	const char *path;            /* in the bundle; the first of several */
};

struct verify_options {
	bool deep;
	/* Blobs that the registry has lost, or has with other bytes, are put
	 * there again from the cache, if that has them, and looked at again. */
	bool repair;
	int show_progress;
	/* Called for each finding, one at a time, from any thread. */
	void (*report)(void *ctx, const struct verify_finding *f);
	void *ctx;
};

/* -EBADMSG when anything is damaged and not repaired (ERROR_VALIDATION), else
 * -EIO when something could not be checked. */
int verify_bundle(struct bundle *b, const struct verify_options *o,
		  struct verify_result *ret, const struct op *op,
		  struct error **errp);

#endif
