/*
 * The root pins a tree for each role. Is it the union of its layers' trees?
 * What a mount shows is that tree alone, so who hands a bundle on makes sure.
 *
 * One layer's tree is open at a time, so many layers need no more memory than
 * what they hold together.
 *
 * Threads: one per bundle.
 */
#ifndef ENGINE_ROLE_TREE_H
#define ENGINE_ROLE_TREE_H

#include "engine/bundle.h"

/* The digest that the tree of @role has to have. -EBADMSG (ERROR_VALIDATION):
 * its layers disagree or break a rule; else a layer could not be had. Of
 * layers that were not validated, names may take far more memory than the
 * trees. */
int role_tree_digest(struct bundle *b, const struct root_role *role,
		     const struct op *op, struct digest *ret,
		     struct error **errp);

/* Every layer's tree keeps every rule, and every role's is the union of its
 * layers': else -EBADMSG. */
int role_trees_check(struct bundle *b, const struct op *op,
		     struct error **errp);

#endif
