/*
 * mops verify --cache [--repair]: what is damaged in the cache, which bundles
 * and files need it, and getting it again from where they came from.
 *
 * Threads: one; found() and unchecked() come from any, one at a time.
 */
#ifndef ENGINE_VERIFY_CACHE_H
#define ENGINE_VERIFY_CACHE_H

#include "cache/verify.h"
#include "engine/session.h"

/* All are counted; so many are kept, told with their uses, and repaired. */
#define CHECK_ITEMS_MAX 16384
#define CHECK_PATHS_MAX 20 /* of one use */

struct check_use { /* a bundle that needs it */
	struct digest bundle;
	char *reference; /* where it came from; NULL: unknown */
	/* "manifest", "root", "tree of role 'r'", "layer 'l'" … */
	char *what;
	char **paths; /* the first files that have bytes of it; or NULL */
	uint64_t files;
	bool full; /* a tree told all there is */
};

enum check_state {
	CHECK_DAMAGED,  /* gone, and wanted */
	CHECK_REPAIRED, /* the right bytes are there again */
	CHECK_UNUSED,   /* no bundle of the cache needs it */
};

struct check_item {
	struct cache_finding finding;
	enum check_state state;
	bool is_index;      /* a manifest, root or tree */
	uint64_t want_size; /* as its bundles say; 0: unknown */
	char *why;          /* not repaired; or NULL */
	struct check_use *uses;
	size_t n, cap;
	struct check_item *same; /* another finding of this content */
};

struct verify_cache_result {
	struct cache_report report;
	struct check_item *items;
	size_t n, cap;
	struct cache_finding *unchecked; /* what could not be read */
	size_t n_unchecked, cap_unchecked;
	uint64_t repaired, unused;
	uint64_t left; /* neither */
};

struct verify_cache_options {
	bool repair, restart;
	int show_progress;
	void (*found)(void *ctx, const struct cache_finding *f);
	void (*unchecked)(void *ctx, const struct cache_finding *f);
	void *ctx;
};

/* 0 when the scan came to its end, damaged or not. @ret is to be released in
 * any case. */
int verify_cache(struct session *s, const struct verify_cache_options *o,
		 struct verify_cache_result *ret, const struct op *op,
		 struct error **errp);
void verify_cache_release(struct verify_cache_result *k);
#define cleanup_verify_cache __attribute__((cleanup(verify_cache_release)))

#endif
