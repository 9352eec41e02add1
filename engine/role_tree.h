/*
 * The root pins a tree for each role. Is it the union of its layers' trees?
 * What a mount shows is that tree alone, so who hands a bundle on makes sure.
 *
 * Threads: one per bundle.
 */
#ifndef ENGINE_ROLE_TREE_H
#define ENGINE_ROLE_TREE_H

#include "engine/bundle.h"

/* The digest that the tree of @role has to have. @layers: the trees of the
 * root's layers, NULL where one could not be had (-EIO). Layers that disagree
 * are an error. */
int role_tree_digest(const struct root *root, const struct root_role *role,
		     struct tree *const *layers, struct digest *ret,
		     struct error **errp);

/* Every layer's tree keeps every rule, and every role's is the union of its
 * layers': else -EBADMSG. */
int role_trees_check(struct bundle *b, const struct op *op,
		     struct error **errp);

#endif
