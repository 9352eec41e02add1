/*
 * Where a bundle may be mounted.
 *
 * A mount over the folder of our own cache, log or configuration, or over the
 * caller's working directory, would make the daemon wait for itself.
 *
 * Threads: one; before any mount.
 */
#ifndef FS_PLACE_H
#define FS_PLACE_H

#include "base/error.h"

/*
 * Check the mountpoint @dir (a path as of mountpoint_path()): a folder, none
 * of whose own is below it that @needed (NULL-ended; missing files count by
 * the folder that they would be in) names. A dead mount of ours there is taken
 * away first; a live one is refused. -EINVAL and the like, kind
 * ERROR_VALIDATION.
 */
int place_check(const char *dir, const char *const *needed,
		struct error **errp);

#endif
