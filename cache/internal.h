/*
 * What the files of this folder share; not for other folders.
 *
 * Threads: a cache's tables are guarded by its lock; what is set when it is
 * opened never changes.
 */
#ifndef CACHE_INTERNAL_H
#define CACHE_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/lock.h"
#include "base/map.h"
#include "cache/cache.h"

/* The cache's folders, each held open. */
enum cache_room {
	ROOM_BLOBS,
	ROOM_PARTIAL,
	ROOM_INDEX,
	ROOM_LAYERS,
	ROOM_BUNDLES,
	ROOM_REFS,
	ROOM_HASHES,
	ROOM_LEASES,
	ROOM_LOCKS,
	ROOM_QUARANTINE,
	ROOM_TMP,
	ROOM_TRASH,
	ROOM_COUNT
};

struct content;
struct batch;

#define BATCH_MAX 64

/* Contents that hold descriptors, in the order they got them. */
struct content_list {
	struct content *first;
	struct content *last;
	unsigned count;
	unsigned max;
};

#define ALTERNATES_MAX 64

struct cache {
	char *path; /* absolute */
	int dirfd;
	int room[ROOM_COUNT];
	dev_t dev;
	mode_t blobs_mode; /* of blobs/ and below: as open as the cache is */
	int claim_fd;      /* locks/claim: one byte per digest */
	int chunk_fd;      /* locks/chunk: a range per partial */
	int gate_fd; /* locks/gate: writers of a partial, and its sealing */
	/* False where locks may be granted to everyone (network file systems):
	 * then nothing is hardlinked or passed through, and partials are
	 * private to this process. */
	bool locks_trusted;
	/* So long, and what hashing takes, is another process's gate heeded. */
	int64_t gate_patience_ms;
	char private_tag[24]; /* "" or ".<random>", part of partials' names */

	int alternates[ALTERNATES_MAX]; /* blobs/sha256 of other caches */
	unsigned n_alternates;
	struct mutex distrust_lock;
	struct map distrusted; /* blobs of theirs that were damaged */

	struct mutex lock; /* of everything below */
	struct map claims; /* digest → struct claim */
	struct cond claim_released;
	struct map contents; /* (digest, key, list) → struct content */
	struct content_list open_contents;
	struct batch *batch;    /* small contents that wait for their names */
	struct batch *flushing; /* those that are getting them */
	unsigned batch_max;
	struct cond batch_flushed;
	struct map no_reflink; /* st_dev of targets that refused one */
};

/* "ab/<hex>", below blobs/sha256/, index/ and so on. */
struct shard_name {
	char str[2 + 1 + DIGEST_HEX_LEN + 1];
};
struct shard_name shard_name(const struct digest *d);
/* Make the "ab" of @name in @room: 1 it is new, 0 it was there, -errno. */
int shard_make(struct cache *c, enum cache_room room, const char *name);
/* The folder @fd, of blobs/, is as open as the cache is; -1: none. */
void blobs_have_mode(const struct cache *c, int fd);

#define RANDOM_NAME_SIZE 17
/* 16 random hex digits. */
void random_name(char *ret);

/* -EEXIST: @final is there; where a file system cannot tell at the renaming,
 * only what is there before it is found. */
int rename_new(int from, const char *name, int to, const char *final);

/* Space for @size bytes of @fd, whose size stays. -ENOSPC, -EDQUOT; where that
 * cannot be reserved it shows at the write. */
int reserve_space(int fd, uint64_t size);
/* "cannot make room for WHAT"; for a full disk with what to do about it. */
int no_room(struct error **errp, int r, const char *what);

/*
 * Reading a file once, chunk by chunk. each() (may be NULL) sees every chunk;
 * what it returns, when not 0, ends the reading. *@ret is the digest of all.
 * -EIO when the file is shorter than @size.
 */
typedef int hash_each_fn(void *ctx, uint32_t i, const void *buf, uint32_t n);
int hash_file(int fd, uint64_t size, hash_each_fn *each, void *ctx,
	      struct digest *ret);

/*
 * blob.c: sealed blobs.
 */

/* By name, type and size alone, here or in an alternate cache. Something else
 * under the name is quarantined: -ENOENT. */
int blob_open_raw(struct cache *c, const struct digest *d, uint64_t size,
		  struct stat *ret_st);
/* The name alone. */
bool blob_has_name(struct cache *c, const struct digest *d, uint64_t size);
/* As blob_open_raw(), and small contents that wait for their name get it. */
int blob_open_named(struct cache *c, const struct digest *d, uint64_t size,
		    struct stat *ret_st);
/* Hash @fd and record its stat; other bytes are quarantined: -ENOENT. */
int blob_rehash(struct cache *c, const struct digest *d, int fd, uint64_t size);
/*
 * The commit of a file whose bytes hash to @d, in two steps. First read-only
 * and durable. Whoever gets an error throws the file away: an fsync that failed
 * once may succeed the next time, with the data lost.
 */
int blob_flush(int fd);
/*
 * Then its final name, durable too. @name in @room is the name it has now and
 * loses (NULL: none). The file that gets the final name is @fd's, never what
 * @name happens to be by then.
 */
int blob_publish(struct cache *c, int fd, enum cache_room room,
		 const char *name, const struct digest *d, struct error **errp);
/*
 * The second step in parts: the name (1: in a new folder); its flush, the new
 * folder's too when @new_shard; what the index keeps.
 */
int blob_name(struct cache *c, int fd, enum cache_room room, const char *name,
	      const struct digest *d);
int blob_sync_name(struct cache *c, const struct digest *d, bool new_shard);
void blob_record(struct cache *c, int fd, const struct digest *d);
/* Another name for the file that @fd is. -EEXIST: never replaces. */
int link_fd(int fd, int dirfd, const char *name);

/* Its bytes are not those of @d: out of the way, wherever it is. */
void blob_condemn(struct cache *c, const struct digest *d, int fd);
/* Is it this cache's own? */
bool blob_is_ours(const struct cache *c, const struct digest *d, int fd);

/*
 * alternate.c: -ENOENT when no alternate cache has it.
 */
int alternates_open(struct cache *c, const struct digest *d, uint64_t size,
		    struct stat *ret_st);
int alternates_read(struct cache *c, const struct digest *d, size_t max,
		    char **ret, size_t *ret_len);
/* Another cache below @dirfd. -ENOBUFS: there are too many. */
int alternate_add(struct cache *c, int dirfd);
/* May the whole of @fd be believed without hashing it? */
bool blob_is_vouched_for(struct cache *c, const struct digest *d, int fd);
/* Hash it, so that it may; a file of another user is copied here. 1: it has a
 * name of its own now; -ESTALE: it was damaged. */
int blob_vouch(struct cache *c, const struct digest *d, uint64_t size, int fd);
void alternates_distrust(struct cache *c, const struct digest *d);
void alternates_release(struct cache *c);

/*
 * draft.c: a file of the cache that is being written, without a name.
 */
struct draft;
/* @size 0: unknown. Space is reserved first, so a full disk shows early. */
int draft_new(struct cache *c, uint64_t size, struct draft **ret,
	      struct error **errp);
void draft_discard(struct draft *s);
static inline void draft_discardp(struct draft **s)
{
	if (*s)
		draft_discard(*s);
	*s = 0;
}
#define cleanup_draft __attribute__((cleanup(draft_discardp)))
int draft_fd(const struct draft *s);
/* In tmp/; NULL when it has none. */
const char *draft_name(const struct draft *s);
/* -EBADMSG: more than the announced size. */
int draft_write(struct draft *s, const void *buf, size_t n,
		struct error **errp);
/* Flush and seal as @d, which the caller knows the bytes to hash to. */
int draft_publish(struct draft *s, const struct digest *d, struct error **errp);

/*
 * batch.c: small contents get their final names together. Hold no lock.
 */
bool batch_has(struct cache *c, const struct digest *d);
/* All that wait, those that another thread is at included. */
int batch_flush(struct cache *c);

/*
 * statindex.c: the stat of each sealed blob when it was last hashed.
 */

/* What says that a file is the one that was hashed; little-endian, as files of
 * the cache keep it. */
struct stat_record {
	uint64_t dev;
	uint64_t ino;
	uint64_t size;
	uint64_t mtime_s;
	uint64_t ctime_s;
	uint32_t mtime_ns;
	uint32_t ctime_ns;
};
struct stat_record stat_record(const struct stat *st);

/* Can nobody write to it but this user and root? What others write shows in no
 * stat, when they map the file. */
bool stat_is_trusted(const struct stat *st);
bool statindex_matches(struct cache *c, const struct digest *d,
		       const struct stat *st);
/* @at_ns: the wall clock when the bytes began to be hashed, or later, when
 * nobody else could write to them. A record that was made within a tick of the
 * last change is not believed: another change may look the same. */
void statindex_put(struct cache *c, const struct digest *d,
		   const struct stat *st, int64_t at_ns);
/* Wait for that tick, so that a record made from now on counts. At most 20 ms;
 * not on file systems that need longer. */
void statindex_settle(int fd);
/* May a file with time @t have changed after @at_ns and still have it, when it
 * takes up to @tick_ns until the time moves? */
bool time_is_racy(const struct timespec *t, int64_t at_ns, int64_t tick_ns);
/* Note a use of the blob, for gc; cheap, errors are ignored. */
void statindex_touch(struct cache *c, const struct digest *d);
void statindex_forget(struct cache *c, const struct digest *d);
/* Same file with the same bytes, as far as a stat can tell. */
bool stat_same(const struct stat *a, const struct stat *b);
/* The same, but for what a link() or unlink() of it changes. */
bool stat_same_but_links(const struct stat *a, const struct stat *b);
#define STATINDEX_RECORD 104
bool statindex_parse(const void *buf, size_t n, const struct digest *d,
		     struct stat *ret, int64_t *ret_at_ns);

/*
 * quarantine.c: move what is damaged out of the way. @fd ≥ 0: only if the name
 * still means that file.
 */
void quarantine(struct cache *c, enum cache_room room, const char *name,
		int fd);

/*
 * locktest.c: may a granted lock be believed on this file system?
 */
bool locks_trustworthy(int dirfd);

/*
 * walk.c: every file of a room that is divided into "ab" folders; @name is
 * "ab/…", @base what is behind the slash. What fn returns, when not 0, ends the
 * walk; -ENOENT ends that folder alone.
 */
typedef int room_walk_fn(void *ctx, const char *name, const char *base,
			 const struct stat *st);
int room_walk(struct cache *c, enum cache_room room, room_walk_fn *fn,
	      void *ctx);
/* One of those folders; it may be missing. */
int shard_walk(struct cache *c, enum cache_room room, const char *shard,
	       room_walk_fn *fn, void *ctx);
/* The names in @dirfd but "." and "..". */
int dir_each(int dirfd, int (*fn)(void *ctx, int dirfd, const char *name),
	     void *ctx);

/*
 * Parsers of what other processes left behind, for the fuzz targets too.
 */
/* *@ret_key leads into @buf and has no NUL in it. */
int ref_parse(const void *buf, size_t n, struct digest *ret,
	      const char **ret_key, size_t *ret_len);
int lease_parse(const void *buf, size_t n, struct digest *ret_manifest,
		bool *ret_content);
/* Fills @ret, which is empty, with pointers to be free()d; they point into
 * @buf. */
int hashes_parse(const void *buf, size_t n, struct map *ret);

#endif
