/*
 * External files that a folder does not have: it was materialized with their
 * pointers alone. Who takes the folder for the bundle would lose them.
 *
 * Threads: one.
 */
#ifndef ENGINE_UNFETCHED_H
#define ENGINE_UNFETCHED_H

#include "engine/scan.h"

/* How many of the pointers in the folder were never fulfilled, are of a path
 * that a layer of @bf takes, and are not in @inv; the first of these in
 * *@ret_first, heap. A pointer that cannot be read is an error. */
int unfetched_count(const struct inventory *inv, const struct bundle_file *bf,
		    size_t *ret, char **ret_first, struct error **errp);

#endif
