/*
 * The watcher: frees callers of parked reads that are dying.
 *
 * Once a request was handed to us the kernel waits for our answer, even when
 * the caller was killed; and FUSE_INTERRUPT, which is sent for some kinds of
 * request only, comes for any signal. So the watcher looks at the callers of
 * reads that were parked for a while (or that were interrupted) and answers
 * EINTR only where proc(5) shows a pending signal that ends the caller: an
 * EINTR for SIGCHLD or a timer would break programs that never expect one.
 *
 * Threads: the watcher is one thread of its own.
 */
#ifndef FS_SIGNALS_H
#define FS_SIGNALS_H

struct parking;
struct watcher;

struct watcher *watcher_start(struct parking *p);
/* After the parking said that it is stopping. */
void watcher_join(struct watcher *w);

#endif
