/*
 * What a tree weighs: of each folder all that is below it, by place, and how
 * much of that is on this machine. What is kept on the heap is a record for
 * each folder and a number for each source, nothing for a file.
 *
 * Threads: one.
 */
#ifndef CLI_PAGE_MEASURE_H
#define CLI_PAGE_MEASURE_H

#include "base/op.h"
#include "cache/cache.h"
#include "cli/page/top.h"
#include "engine/tree.h"

enum place { IN_BLOB, IN_PACK, IN_EXTERNAL, PLACES };

/* Sums stop at 2⁶⁴ − 1: a hostile tree may say anything. */
struct weight {
	uint64_t files;
	uint64_t bytes;
	uint64_t in[PLACES]; /* of the bytes */
	/* Of a file in a pack that is here in part: its share of that part. */
	uint64_t cached;
};

void weight_add(struct weight *to, const struct weight *w);
/* What is left of @from, of which @w is a part. */
void weight_take(struct weight *from, const struct weight *w);
/* The one that most of the bytes are in. */
enum place weight_place(const struct weight *w);

struct measured {
	const struct tree *tree;
	struct measured_dir {
		uint32_t node;
		struct weight w;
	} * dirs; /* by node; the root is the first */
	size_t n_dirs;
	uint64_t *have; /* by source: bytes that are here */
};

/* @tree outlives what is measured. Its files are offered to @largest (NULL: to
 * nobody) as of tree @number. */
int measure(const struct tree *tree, struct cache *cache, uint32_t number,
	    struct top *largest, struct measured *ret, const struct op *op,
	    struct error **errp);
void measured_release(struct measured *m);
#define cleanup_measured __attribute__((cleanup(measured_release)))

/* Of everything. */
const struct weight *measured_total(const struct measured *m);
/* Of a file, a folder, a symlink (nothing). */
void measured_node(const struct measured *m, uint32_t i,
		   const struct tree_node *n, struct weight *ret);

#endif
