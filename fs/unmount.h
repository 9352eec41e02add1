/*
 * Taking a mount of ours down, as root or through fusermount3.
 *
 * Threads: any, but not from one that serves the mount.
 */
#ifndef FS_UNMOUNT_H
#define FS_UNMOUNT_H

#include <stdbool.h>

#include "base/error.h"
#include "fs/mountinfo.h"

/*
 * Unmount what is on top at @dir (a path as of mountpoint_path()) when it is
 * ours; else -EINVAL. -EBUSY when it is in use and not @lazy.
 */
int unmount_at(const char *dir, bool lazy, struct error **errp);

/*
 * Unmount @own, or detach it when it is in use; by now another mount of ours may
 * be at @dir, which is left alone. 0: it is not there any more; 1: it was in
 * use; or -errno.
 */
int unmount_own(const char *dir, const struct mount_identity *own);
/* Who may not is not told: end the connection of @own, which is to be unmounted
 * then. Whatever waits for an answer goes on, with an error. */
void unmount_abort(const char *dir, const struct mount_identity *own);

#endif
