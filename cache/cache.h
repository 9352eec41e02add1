/*
 * The local cache: verified bytes shared by every mount, job and command of
 * the machine (layout: docs/format.md, "Cache").
 *
 * A name below blobs/ is given only to a file whose bytes hash to that name,
 * after fsync. Locks and claims protect efficiency, never correctness. Nothing
 * in the cache is trusted: documents are hashed at each load, chunks when they
 * are first used, whole blobs when their stat differs from what was recorded.
 *
 * Errors, everywhere: -ENOENT not here; -EBADMSG the bytes are not what the
 * digest says; -ENOSPC, -EDQUOT, -EIO as the file system said; -EACCES the
 * folder is not ours to trust (owned by someone else, or writable by others).
 *
 * Threads: a cache is shared by all threads. Open it after the last fork().
 */
#ifndef CACHE_CACHE_H
#define CACHE_CACHE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/op.h"

#define CHUNK_SIZE (1u << 20) /* schemaVersion 1 */

struct cache;

/* Creates the folder, CACHEDIR.TAG and the version file when missing. A cache
 * of another version is -EINVAL (kind ERROR_MEDIA_TYPE). */
int cache_open(const char *dir, struct cache **ret, struct error **errp);
/* Contents are closed before. Flushes, as cache_sync() does. */
void cache_close(struct cache *c);
static inline void cache_closep(struct cache **c)
{
	if (*c)
		cache_close(*c);
	*c = 0;
}
#define cleanup_cache __attribute__((cleanup(cache_closep)))

/*
 * Small contents are sealed in groups: this gives those that wait their names
 * and flushes them. Only after it returned 0 is what was sealed sure to survive
 * a power cut; but not what others removed meanwhile, which is as if it had not
 * been put. Looking for a blob in this process flushes by itself.
 */
int cache_sync(struct cache *c, struct error **errp);

/* Is @r a failure to write only? What is there can be read, and what is not can
 * go past the cache. */
static inline bool cache_is_unwritable(int r)
{
	return r == -ENOSPC || r == -EDQUOT || r == -EROFS;
}

/* Close what this process has open of files that were removed since: their
 * space is free only then. */
void cache_let_go(struct cache *c);

/*
 * Also read the blobs and documents of another cache, which is never written
 * to. Nothing there is believed that was not hashed by this user. Before
 * anything is looked for. -ENOENT: there is none.
 */
int cache_add_alternate(struct cache *c, const char *dir, struct error **errp);
/*
 * The cache of this user below a folder that a group shares, with those of the
 * other members as its alternates. None writes to another's. -ENOENT: there is
 * no such folder; -EACCES, of kind ERROR_VALIDATION: its owner or its mode let
 * others put theirs in the place of ours, or they have; or as cache_open().
 */
int cache_open_group(const char *dir, struct cache **ret, struct error **errp);

const char *cache_path(const struct cache *c);
int cache_dirfd(const struct cache *c);

/*
 * Sealed blobs.
 */

/*
 * A read-only descriptor of a sealed blob, or -ENOENT. A blob whose size is
 * wrong, or whose stat differs from the index and that then does not hash to
 * its name, is quarantined and -ENOENT. One of an alternate cache may still
 * change: whoever takes bytes from it hashes those.
 */
int cache_blob_open(struct cache *c, const struct digest *d, uint64_t size,
		    struct error **errp);
/* A look at the name and the size alone: for display and planning. */
bool cache_blob_exists(struct cache *c, const struct digest *d, uint64_t size);
/* It will be there without anybody's help: it is sealed here, or root's, or is
 * copied now. -ENOENT: no cache has it. */
int cache_blob_keep(struct cache *c, const struct digest *d, uint64_t size);

/*
 * Documents (manifests, roots): small, hashed at every load.
 */
int cache_doc_put(struct cache *c, const struct digest *d, const void *buf,
		  size_t n, struct error **errp);
/* malloc()ed, with a NUL after its bytes. -ENOENT: absent, or was damaged and
 * is quarantined now. */
int cache_doc_get(struct cache *c, const struct digest *d, size_t max,
		  char **ret, size_t *ret_len, struct error **errp);

/*
 * Tags as last resolved, for --offline. @key is "<registry>/<repo>:<tag>" or
 * any other string; it is hashed to a file name and stored inside, checked.
 */
int cache_ref_put(struct cache *c, const char *key, const struct digest *d,
		  struct error **errp);
int cache_ref_get(struct cache *c, const char *key, struct digest *ret,
		  struct error **errp);
/* As if it had never been resolved. */
void cache_ref_forget(struct cache *c, const char *key);
/* All of them, in no order; what fn returns, when not 0, ends it. */
int cache_ref_each(struct cache *c,
		   int (*fn)(void *ctx, const char *key,
			     const struct digest *d),
		   void *ctx, struct error **errp);

/*
 * bundles/<manifest hex>/: the manifest, the root, `used`, and
 * layers/<layer hex> pointing to layers/<layer hex>/.
 */
int cache_bundle_record(struct cache *c, const struct digest *manifest,
			const struct digest *root,
			const struct digest *layer_trees, size_t n_layers,
			struct error **errp);
/* Note a use (mtime of `used`); cheap, errors are ignored. */
void cache_bundle_touch(struct cache *c, const struct digest *manifest);

/*
 * layers/<layer hex>/: big files under their bundle paths, as relative
 * symlinks into blobs/. fill() gets the descriptor of an empty folder in tmp/
 * and the relative way from a folder at depth 0 to blobs/ ("../../blobs/");
 * the folder is renamed into place when it succeeds. Existing: 0 at once.
 */
int cache_layer_build(struct cache *c, const struct digest *layer_tree,
		      int (*fill)(void *ctx, int dirfd, const char *to_blobs,
				  struct error **errp),
		      void *ctx, struct error **errp);

/*
 * A lease: held by a mount or a command, freed by the kernel when the process
 * ends. Names a manifest; @content: its blobs too are not to be removed.
 */
struct lease;
int lease_take(struct cache *c, const struct digest *manifest, bool content,
	       struct lease **ret, struct error **errp);
void lease_release(struct lease *l);
/* A copy of it, in another process, holds the lease on. */
int lease_fd(const struct lease *l);

/*
 * Single flight between processes, per digest: at most one holder. Waits until
 * @deadline_ns (-ETIMEDOUT: go on without). A thread holds one claim at most.
 */
struct claim;
int claim_take(struct cache *c, const struct digest *d, int64_t deadline_ns,
	       struct claim **ret);
void claim_release(struct claim *cl);
static inline void claim_releasep(struct claim **cl)
{
	if (*cl)
		claim_release(*cl);
	*cl = 0;
}
#define cleanup_claim __attribute__((cleanup(claim_releasep)))

/*
 * Give a sealed blob another name outside the cache.
 *
 * Reflink; else hardlink (owner is us, not writable, not executable, one
 * size > 0, same file system, and no mount is passing the blob through); else
 * copy, hashed while copied. @how in: what is allowed; out: what was done.
 * The new file @name in @dirfd must not exist; it is 0444 when hardlinked, else
 * @mode. The file is not fsynced, the caller syncs its batch.
 */
enum link_how {
	LINK_AUTO,
	LINK_REFLINK,
	LINK_HARDLINK,
	LINK_SYMLINK,
	LINK_COPY
};
struct link_request {
	const struct digest *digest;
	uint64_t size;
	enum link_how how;
	bool executable;
	bool writable;
	mode_t mode;
};
int cache_link_out(struct cache *c, const struct link_request *rq, int dirfd,
		   const char *name, enum link_how *ret_done,
		   struct error **errp);

/*
 * For kernel passthrough: a descriptor of a sealed blob with exactly one link
 * and an unchanged stat, holding flock(LOCK_SH) for as long as it is open.
 * -EAGAIN: not suitable, serve it chunk by chunk.
 */
int cache_blob_open_passthrough(struct cache *c, const struct digest *d,
				uint64_t size);
/* Whether that descriptor may serve once more: all of the above still holds,
 * and the blob's name still leads to it. */
bool cache_blob_still_passable(struct cache *c, const struct digest *d, int fd);

/* What the cache holds, for status and du. */
struct cache_usage {
	uint64_t blobs, blob_bytes, partials, partial_bytes;
};
int cache_usage(struct cache *c, struct cache_usage *ret, struct error **errp);

#endif
