/*
 * Between a mount and the kernel: the session, the mount itself, and a look at
 * what was really given. In this order; the worker ends what was begun.
 *
 * Threads: the worker's main thread, before others serve.
 */
#ifndef FS_ATTACH_H
#define FS_ATTACH_H

#include "fs/mount.h"

/* libfuse's session, with the options that are always set. */
int attach_open(struct mount *m, struct error **errp);
/* The reason of a failure, which fusermount3 and libfuse print, is in the
 * error. */
int attach_mount(struct mount *m, struct error **errp);
/* In place of attach_mount() and attach_check(): go on with a mount that
 * somebody else made, with the options that they chose. Sets major and minor if
 * the kernel tells them. */
int attach_received(struct mount *m, int device, struct error **errp);
/*
 * INIT is the kernel's first request, and is served before there is a second
 * thread: libfuse writes without a lock what each later request reads.
 */
int attach_serve_init(struct mount *m, struct error **errp);
/* In place of attach_mount() and attach_serve_init(): go on with the mount of
 * the handover. -EPROTO when this program would agree on something else with
 * the kernel than the first one did. */
int attach_take_over(struct mount *m, struct error **errp);
int attach_replay_init(struct mount *m, struct error **errp);
/* A worker that was taken over may have set O_NONBLOCK, which is the file's and
 * not a process's: all after it would ask for requests without a pause. When
 * the predecessor is dead. */
int attach_make_blocking(struct mount *m, struct error **errp);
/* The kernel's own list says what we really have: -EPERM when an option that
 * protects is not there. Sets major and minor. */
int attach_check(struct mount *m, struct error **errp);
/* The kernel reads ahead 128 KiB whatever a FUSE server asks for; root may
 * change that afterwards. */
void attach_set_readahead(const struct mount *m);

#endif
