/*
 * Where external files live: object stores, local folders; in tests memory
 * (tests/fakes/).
 *
 * Errors as in storage/registry.h; -ESTALE: the object is not the one first
 * seen (its validator changed).
 *
 * Threads: any operation on any thread, many at once; each may block.
 */
#ifndef STORAGE_OBJECT_STORE_H
#define STORAGE_OBJECT_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/op.h"
#include "base/uri.h"
#include "storage/sink.h"

/* What a store's word on the SHA-256 rests on. */
enum object_sha256_from {
	OBJECT_SHA256_UNKNOWN,
	OBJECT_SHA256_METADATA, /* the uploader said so */
	OBJECT_SHA256_CHECKSUM, /* the store computed it over the bytes */
};

/* What stat tells. */
struct object_info {
	uint64_t size;
	bool has_sha256; /* the store could tell: see sha256_from */
	enum object_sha256_from sha256_from;
	struct digest sha256;
	char validator[128]; /* ETag, version, generation; "" when none */
};

struct object_store;

struct object_store_ops {
	int (*stat)(struct object_store *s, const struct pointer_uri *uri,
		    struct object_info *ret, const struct op *op,
		    struct error **errp);
	/* Deliver exactly [@off, @off + @len), @len > 0. @validator "" or as
	 * stat() returned it: another object than that is -ESTALE. One
	 * that ends before the range does is -EPROTO. */
	int (*read)(struct object_store *s, const struct pointer_uri *uri,
		    const char *validator, uint64_t off, uint64_t len,
		    struct sink *sink, const struct op *op,
		    struct error **errp);
	/* Store @feed; @sha256 goes with it where the store keeps metadata.
	 * An object already there with this size and digest is success;
	 * another one is -EEXIST, nothing is overwritten. -EBADMSG: @feed is
	 * not what @sha256 says, and nothing is stored. */
	int (*put)(struct object_store *s, const struct pointer_uri *uri,
		   struct feed *feed, const struct digest *sha256,
		   const struct op *op, struct error **errp);
	int (*remove)(struct object_store *s, const struct pointer_uri *uri,
		      const struct op *op, struct error **errp);
	void (*free)(struct object_store *s);
};

struct object_store { /* the first member of every implementation */
	const struct object_store_ops *ops;
};

static inline void object_store_free(struct object_store *s)
{
	if (s)
		s->ops->free(s);
}

/*
 * file:// URIs, regular files only, below @roots (copied; NULL-ended, absolute;
 * NULL or empty: nothing is allowed, -EACCES) and without following a symlink
 * below a root. The validator is (dev, ino, size, mtime, ctime). put() makes
 * missing folders below a root, never a root; a file gets its name only when
 * it is whole and flushed.
 */
struct object_store *object_store_file_new(char *const *roots);

/* One store per scheme, chosen by a URI. Owns the stores; NULL members are
 * schemes this program has no store for (-EPROTONOSUPPORT). */
struct object_stores {
	struct object_store *by_scheme[4]; /* indexed by enum uri_scheme */
	struct error *missing; /* NULL, or why there is not one for each */
};
struct object_store *object_stores_for(const struct object_stores *s,
				       const struct pointer_uri *uri,
				       struct error **errp);
void object_stores_release(struct object_stores *s);

#endif
