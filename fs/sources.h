/*
 * The fetchable sources of a mounted tree, opened when first read and shared.
 * A bundle can name a million externals: those that nobody reads now are
 * closed, the longest unused first, when many are open.
 *
 * Threads: any.
 */
#ifndef FS_SOURCES_H
#define FS_SOURCES_H

#include "engine/bundle.h"

struct sources;

struct sources *sources_new(struct bundle *b, const struct tree *t);
/* No source may be held any more. */
void sources_free(struct sources *s);

/* Source @index of the tree, held until sources_put(). */
int sources_get(struct sources *s, uint32_t index, struct fetch_source **ret,
		struct error **errp);
void sources_put(struct sources *s, uint32_t index);

#endif
