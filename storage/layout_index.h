/*
 * The index.json of an OCI image-layout folder: found entries, changed ones,
 * and everything that other tools wrote kept as it was.
 *
 * Threads: one object, one thread.
 */
#ifndef STORAGE_LAYOUT_INDEX_H
#define STORAGE_LAYOUT_INDEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"
#include "base/strbuf.h"
#include "storage/descriptor.h"

struct layout_entry {
	const struct json *orig; /* NULL: an entry made here */
	bool usable;  /* false: of a digest that we do not know; kept as is */
	bool renamed; /* its name is not the one in @orig */
	struct descriptor desc; /* its ref.name annotation is the name */
};

struct layout_index {
	struct json *doc; /* NULL: a new index */
	struct layout_entry *entries;
	size_t n, cap;
	bool changed;
};

#define LAYOUT_INDEX_INIT \
	{                 \
		0         \
	}

/* Bytes and values are bounded by JSON_LIMITS_BIG. Malformed is -EINVAL. */
int layout_index_parse(const void *buf, size_t len, struct layout_index *ret,
		       struct error **errp);
void layout_index_release(struct layout_index *idx);
#define cleanup_layout_index __attribute__((cleanup(layout_index_release)))

/* The name of an entry; NULL when it has none. */
const char *layout_entry_name(const struct layout_entry *e);

/* The entry called @name: -ENOENT; -EINVAL when there are two of different
 * content. */
int layout_index_find(const struct layout_index *idx, const char *name,
		      const struct layout_entry **ret, struct error **errp);
/* Any entry of this digest, or NULL. */
const struct layout_entry *
layout_index_by_digest(const struct layout_index *idx, const struct digest *d);

/* Let @name stand for @d (whose own annotations are not written); @name NULL:
 * make sure that @d has an entry. Whatever had @name stays, without it. */
void layout_index_set(struct layout_index *idx, const char *name,
		      const struct descriptor *d);
/* Take the name away; the entry stays. False when there was none. */
bool layout_index_untag(struct layout_index *idx, const char *name);
/* Remove entries of @d that have no name. */
void layout_index_drop_unnamed(struct layout_index *idx,
			       const struct digest *d);

/* The whole document; -EFBIG when it is more than a reader accepts. */
int layout_index_write(const struct layout_index *idx, struct strbuf *out,
		       struct error **errp);

#endif
