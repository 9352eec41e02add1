/*
 * Packs: small files of a layer in deterministic tars, cut so that a change
 * touches one pack or two (docs/format.md, "Packs").
 */
#ifndef ENGINE_PACK_H
#define ENGINE_PACK_H

#include "base/digest.h"
#include "storage/sink.h"

/* Of the bytes that a pack has: another one whenever the same items give others.
 * What was hashed under it is believed by later pushes. */
#define PACK_FORMAT 1

/* A file to be packed. Input to cutting: sorted by path bytes, each content
 * once per layer. */
struct pack_item {
	const char *path;
	bool executable;
	uint64_t size; /* > 0 */
	struct digest digest;
	void *user;      /* the caller's; handed to the opener */
	uint64_t offset; /* out: of its content in the pack */
};

/*
 * Plan version 1's cutting rule at doubling step @k (0–4): how many of @items,
 * from the first, go into the pack being filled.
 */
size_t pack_cut(const struct pack_item *items, size_t n, unsigned k);

/* The doubling step for a whole bundle: @layers gives each layer's items. */
struct pack_layer {
	const struct pack_item *items;
	size_t n;
};
unsigned pack_step(const struct pack_layer *layers, size_t n_layers);

/*
 * One pack as a readable stream: headers are made, contents are read through
 * open(), nothing is kept in memory or in a temporary file.
 */
struct pack;
/* Fills @items[].offset. Items must outlive the pack. open() returns a
 * descriptor (closed by the pack) for an item's content. */
struct pack *pack_new(struct pack_item *items, size_t n,
		      int (*open)(void *ctx, const struct pack_item *it,
				  struct error **errp),
		      void *ctx);
uint64_t pack_size(const struct pack *p);
/*
 * Read it once, hashing each file against its digest (a mismatch is -ESTALE,
 * kind ERROR_VALIDATION, naming the file: it changed since it was scanned) and
 * the whole and its chunks. *@ret_chunks is malloc()ed, NULL when size ≤
 * CHUNK_SIZE.
 */
int pack_hash(struct pack *p, struct digest *ret, struct digest **ret_chunks,
	      uint32_t *ret_n, struct error **errp);
/* For uploading; valid as long as the pack. */
struct feed *pack_feed(struct pack *p);
void pack_free(struct pack *p);

#endif
