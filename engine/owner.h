/*
 * Which layer owns a path: the first whose globs match it, unless that layer's
 * `ignore` takes it out of the bundle.
 */
#ifndef ENGINE_OWNER_H
#define ENGINE_OWNER_H

#include "engine/bundle_file.h"

#define OWNER_NONE     (-1) /* no layer matches */
#define OWNER_LEFT_OUT (-2) /* matched, and ignored by that layer */

struct owners;

int owners_new(const struct bundle_file *bf, struct owners **ret,
	       struct error **errp);
/* An index into the bundle file's layers, or one of the two above. */
int owners_find(const struct owners *o, const char *path, size_t n);
void owners_free(struct owners *o);
static inline void owners_freep(struct owners **o)
{
	if (*o)
		owners_free(*o);
	*o = 0;
}
#define cleanup_owners __attribute__((cleanup(owners_freep)))

#endif
