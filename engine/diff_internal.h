/* What engine/diff.c and its helper share. Not for others. */
#ifndef ENGINE_DIFF_INTERNAL_H
#define ENGINE_DIFF_INTERNAL_H

#include "engine/diff.h"

/* Pairs of a removed and an added file of one content become renamed ones. */
int diff_find_renames(const struct tree *a, const struct tree *b,
		      struct diff *d, struct error **errp);

#endif
