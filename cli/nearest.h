/* What somebody meant who mistyped a name. */
#ifndef CLI_NEAREST_H
#define CLI_NEAREST_H

#include "cli/args.h"

/*
 * How many letters must be put in, left out, changed or swapped with the next
 * to make @a of @b; more than 32 letters are all changed.
 */
unsigned name_distance(const char *a, const char *b);
/* The verb that @name is nearest to, the first of several; NULL: it is like
 * none. */
const struct verb *nearest_verb(const struct program *p, const char *name);
/* The error for a verb that there is none of, with advice. Returns -EINVAL. */
int no_such_verb(const struct program *p, const char *name,
		 struct error **errp);

#endif
