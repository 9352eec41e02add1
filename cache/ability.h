/*
 * What the disk of a cache can do, found by trying.
 *
 * Threads: any.
 */
#ifndef CACHE_ABILITY_H
#define CACHE_ABILITY_H

#include "cache/cache.h"

struct cache_abilities {
	/* 0, or why a file cannot be written there (-errno): then of what
	 * follows only the space is known. */
	int writes;
	bool reflinks;
	bool hardlinks;
	bool verity; /* fs-verity could seal files */
	bool locks;  /* are not granted to everyone */
	uint64_t free_bytes;
	bool counts_files; /* the file system has so many inodes, */
	uint64_t free_files;
};

/* Writes, and removes, two small files in tmp/. */
int cache_probe(struct cache *c, struct cache_abilities *ret,
		struct error **errp);

#endif
