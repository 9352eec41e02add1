/*
 * mops verify --cache: re-hash every sealed blob and document, and check every
 * partial by its chunks. What is damaged loses its name at once, whatever comes
 * after: blobs are moved to quarantine/, chunks become absent, a partial that
 * cannot be believed is removed.
 *
 * A scan that was interrupted is gone on with: cache_verify() notes in the cache
 * what it is through with and what it found. The note is a hint; one that is
 * damaged, or lies, has the scan begin anew, or leave out what it says.
 */
#ifndef CACHE_VERIFY_H
#define CACHE_VERIFY_H

#include "cache/cache.h"

enum cache_damage {
	CACHE_DAMAGED_BLOB = 1,
	CACHE_DAMAGED_CHUNK = 2, /* of a partial */
	CACHE_DAMAGED_MAP = 3,   /* of a partial: it is gone, chunks and all */
};

struct cache_finding {
	enum cache_damage kind;
	struct digest digest;   /* of the content, as its name says */
	uint32_t chunk;         /* CACHE_DAMAGED_CHUNK: which */
	struct digest expected; /* of the blob, of the chunk */
	bool has_found;         /* it could be read whole: */
	struct digest found;    /* what it is instead */
	uint64_t size;          /* bytes that are there */
	int error;              /* why it could not be read, as errno; or 0 */
	/* Of a blob: so many more hardlinks of its inode @ino were elsewhere.
	 * Those have the damaged bytes still. */
	uint32_t links;
	uint64_t ino;
	bool earlier; /* found before this run of the scan */
};

struct cache_report {
	uint64_t blobs, bytes;     /* sealed, looked at */
	uint64_t partials, chunks; /* looked at */
	uint64_t damaged;          /* findings */
	uint64_t unchecked;        /* could not be read */
	uint64_t removed_partials;
	bool resumed; /* the counts have what was seen before */
};

struct progress;

struct cache_verify_options {
	unsigned threads;    /* 0: one for each CPU */
	uint64_t limit_rate; /* bytes read per second; 0: any */
	bool restart;        /* do not go on with an interrupted scan */
	/* Tell findings of earlier scans that nobody repaired, too. */
	bool for_repair;
	struct progress *progress; /* NULL: none */
	/* Told of each finding, one at a time, from any thread; may be NULL.
	 * It must not call into the cache. */
	void (*found)(void *ctx, const struct cache_finding *f);
	/* Told of each file that could not be read, by its kind, digest and
	 * error; likewise. */
	void (*unchecked)(void *ctx, const struct cache_finding *f);
	void *ctx;
	const struct op *op;
};

/* 0 when all was looked at, damaged or not. @ret is filled on failure, too. */
int cache_verify(struct cache *c, const struct cache_verify_options *o,
		 struct cache_report *ret, struct error **errp);

/* For who repairs; errors are ignored: no scan says more of @f. */
void cache_verify_repaired(struct cache *c, const struct cache_finding *f);

#endif
