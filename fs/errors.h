/*
 * What a reader of the mount is told when something failed, and who else hears
 * of it: each failure site has a number, one errno, a counter, and at most one
 * line a minute in the log. The numbers are documented and never reused.
 *
 * Threads: any.
 */
#ifndef FS_ERRORS_H
#define FS_ERRORS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/lock.h"
#include "base/strbuf.h"

enum fs_site {
	SITE_TREE = 1,  /* the tree breaks its own rules */
	SITE_SOURCE,    /* a source does not fit the manifest */
	SITE_LOCAL,     /* the cache could not be read */
	SITE_VERIFY,    /* the bytes are not what the bundle says */
	SITE_FETCH,     /* the bytes could not be fetched */
	SITE_TIMEOUT,   /* nor within --io-timeout */
	SITE_DENIED,    /* the store refused us */
	SITE_DRIFT,     /* an external object is not the one pinned */
	SITE_LOST,      /* fetched, and gone before it could be read */
	SITE_SYNTHETIC, /* a document below .mops/ could not be made */
	SITE_STOPPING,  /* the mount is being taken down */
	SITE_MEMORY,    /* no memory for an answer */
	SITE_FILES,     /* no descriptor left, ours or the machine's */
	SITE_END
};

struct fs_site_info {
	const char *name;
	int code; /* what the reader gets */
	const char *what;
};
const struct fs_site_info *fs_site_info(enum fs_site s);

/* The last failure of an inode, kept for user.mops.error. */
struct fs_failure {
	uint64_t ino; /* 0: free */
	int64_t wall_s;
	enum fs_site site;
	char text[256];
};

#define FS_FAILURES 256

struct fs_errors {
	atomic_uint_fast64_t *counts; /* one for each site */
	struct {
		int64_t logged_ns; /* 0: never */
		uint64_t held_back;
	} sites[SITE_END];
	struct mutex lock;
	struct fs_failure ring[FS_FAILURES];
	unsigned next;
};

/* @counts: SITE_END of them, which may have begun. */
void fs_errors_init(struct fs_errors *e, atomic_uint_fast64_t *counts);

/* The site that an error of the fetcher or the cache belongs to. */
enum fs_site fs_site_of(int code, bool local);

/*
 * Count a failure, remember it for @ino, log it when the site was silent for a
 * minute. @what names the object (a digest). Returns the errno of the site.
 */
int fs_errors_report(struct fs_errors *e, enum fs_site site, uint64_t ino,
		     const char *what, const char *why);

uint64_t fs_errors_count(struct fs_errors *e, enum fs_site site);
/* "site 5 (fetch), 2025-03-01T10:00:00Z: …" of @ino; false: none known. */
bool fs_errors_last(struct fs_errors *e, uint64_t ino, struct strbuf *out);
/* @ino was read well: what failed before is history. Cheap when nothing
 * failed. */
void fs_errors_clear(struct fs_errors *e, uint64_t ino);

#endif
