/* What the files of cache_verify() share; not for others. */
#ifndef CACHE_VERIFY_INTERNAL_H
#define CACHE_VERIFY_INTERNAL_H

#include "base/progress.h"
#include "base/rate_limit.h"
#include "cache/content_internal.h"
#include "cache/verify.h"

/*
 * A part of the cache: the files of one "ab" folder of blobs/ or partial/. Parts
 * are the units of work between threads, and of the note.
 */
#define PARTS_OF_ROOM 256
#define PARTS         (2 * PARTS_OF_ROOM) /* blobs, then partials */

/*
 * verify_note.c: the file `verify`, a header and records that are appended. A
 * note whose descriptor is -1 is kept in memory only: another process has it, or
 * the disk takes none.
 */
#define NOTE_HEADER 32
#define NOTE_RECORD 136
/* Findings that are noted; all are told, and counted. */
#define NOTE_FINDINGS_MAX 16384

static inline bool same_finding(const struct cache_finding *a,
				const struct cache_finding *b)
{
	return a->kind == b->kind && a->chunk == b->chunk &&
	       digest_equal(&a->digest, &b->digest);
}

struct noted {
	struct cache_finding finding;
	bool carried; /* found by an earlier scan, and not repaired */
};

struct note {
	int fd;
	int lock_fd;
	int64_t begun_ns; /* wall clock */
	size_t sound;     /* so many bytes of it are to be believed */
	bool resumed;
	bool done[PARTS];
	struct cache_report counts; /* of the parts that are done */
	struct noted *found;
	size_t n, cap;
};

/* Up to the first record that is damaged. -EBADMSG: the header is. What *@ret
 * holds is to be released all the same. */
int note_parse(const void *buf, size_t n, struct note *ret);
void note_release(struct note *n);
/* Go on with the one that is there, or begin one. */
void note_open(struct cache *c, bool restart, struct note *ret);
void note_part(struct note *n, unsigned part,
	       const struct cache_report *counts);
void note_finding(struct note *n, const struct cache_finding *f);

struct verify {
	struct cache *c;
	const struct cache_verify_options *o;
	struct rate_gate gate;
	size_t n_earlier;  /* findings of the note before this run */
	struct mutex lock; /* of what follows, and around the callbacks */
	struct cache_report *report;
	struct note note;
};

/* One part, by one thread. */
struct verify_part {
	struct verify *v;
	struct cache_report counts;
};

/* To be asked before each piece of work: 0, or what ends the scan. */
int verify_stop(const struct verify_part *p);
/* @n bytes were read: count them, and wait as the rate wants it. */
int verify_read(const struct verify_part *p, size_t n);
/* Note and tell. Whoever found it takes the name away afterwards, so that a
 * kill in between loses nothing. */
void verify_found(struct verify_part *p, const struct cache_finding *f);

/* A file could not be read, with @f's error: 1 it is damaged, or no file; 0 it is
 * gone, or told as unchecked; or what ends the scan. */
int verify_unreadable(struct verify_part *p, const struct cache_finding *f);

/* verify_partial.c: a room_walk_fn with a struct verify_part. */
int verify_partial(void *ctx, const char *name, const char *base,
		   const struct stat *st);

#endif
