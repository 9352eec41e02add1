/*
 * What lies between two trees, said with their nodes: no content is read, and
 * nothing is copied but the numbers of nodes that differ.
 *
 * Folders matter only where nothing is in them: a folder that has content is
 * said by it.
 */
#ifndef ENGINE_DIFF_H
#define ENGINE_DIFF_H

#include "engine/scan.h"
#include "engine/tree.h"

enum diff_kind {
	DIFF_ADDED,
	DIFF_REMOVED,
	DIFF_MODIFIED, /* other content, another target, another kind */
	DIFF_RENAMED,  /* a file's content is gone here and new there */
	DIFF_MODE,     /* the executable bit alone */
	DIFF_KINDS,
};

struct diff_change {
	enum diff_kind kind;
	uint32_t a, b; /* nodes; TREE_NONE: on the other side alone */
};

struct diff_sum {
	uint64_t entries; /* files, symlinks, empty folders */
	uint64_t a_bytes, b_bytes;
};

struct diff {
	/* In the order of tree_walk(); a renamed file where it is now. */
	struct diff_change *changes;
	size_t n;
	struct diff_sum sums[DIFF_KINDS];
	struct diff_sum same;
	struct diff_sum a, b; /* all of one side; the other's bytes are 0 */
};

/*
 * Files without content are never renamed. Of several that have one content,
 * those that keep their name are taken for each other first, then in order of
 * their paths.
 * -EBADMSG: a tree breaks the rules of the format.
 */
int diff_trees(const struct tree *a, const struct tree *b, struct diff *ret,
	       struct error **errp);
void diff_release(struct diff *d);
#define cleanup_diff __attribute__((cleanup(diff_release)))

/* The stable name of a kind: "added", "removed", … */
const char *diff_kind_name(enum diff_kind kind);

/*
 * A folder's tree, to compare: the entries of layers @i with @layers[i] (NULL:
 * of all). Its sources are of no bundle. A node's layer is the index in the
 * bundle file. *@ret is malloc()ed.
 */
int inventory_tree(const struct inventory *inv, const bool *layers, void **ret,
		   size_t *ret_len, struct error **errp);

#endif
