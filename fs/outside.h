/*
 * The one process of a worker that stays outside its sandbox: forked before
 * the first thread, it runs what the sandbox keeps the worker from running.
 *
 *   worker ──"run", words; stdin, stdout, status socket──▶ outside ──fork──▶ keeper
 *          ◀───────────────── status ─────────────────────────────────────── │
 *                                                              program ◀─────┘
 *
 * A worker that was taken over by its enemy must not get further with it. So it
 * runs nothing but credential programs that the user's own settings name
 * (storage/program.h), eight at a time, and unmounts nothing but the worker's
 * mount, which it is told of once. When a worker ends, its outside and whatever
 * that runs end too.
 *
 * Threads: any; outside_start() before there are any.
 */
#ifndef FS_OUTSIDE_H
#define FS_OUTSIDE_H

#include "fs/mountinfo.h"

/* Programs are run there from now on. @mount: as of the supervisor; all 0: the
 * worker has yet to mount. 0 or -errno. */
int outside_start(const char *mountpoint, const struct mount_identity *mount);
/* Then it is told, before anything but the kernel is answered to. It believes
 * the first telling only. */
void outside_tell(const struct mount_identity *mount);
/* For a worker whose supervisor is gone. 0 or -errno; -ENOTCONN: there is no
 * such process. */
int outside_unmount(void);

#endif
