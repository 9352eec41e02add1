/*
 * The process of a worker that gives pages to the kernel before they are asked
 * for (FUSE_NOTIFY_STORE): forked before the first thread, it writes what the
 * worker sends it to the mount's device, and may do nothing else.
 *
 *   worker ──verified pages──▶ notifier ──▶ /dev/fuse
 *
 * Why a process: such a write waits, and no signal ends that, for a page that a
 * read in flight has locked, hence for an answer of ours. A worker of which a
 * thread waits so could be killed, but would not be dead, and the successor
 * that is to answer would never start. Nobody waits for this process; it ends
 * with its worker, at the latest when the successor has answered.
 *
 * Threads: notifier_begin() before there are any, notifier_store() and
 * notifier_flush() from one, the others from any.
 */
#ifndef FS_NOTIFIER_H
#define FS_NOTIFIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest content that is given at once, in bytes. */
#define NOTIFIER_STORE_MAX (64u << 10)

/* Fork it. 0 or -errno. */
int notifier_begin(void);
/* Once: the device it writes to, which stays the caller's. False: there is no
 * notifier. */
bool notifier_open(int device);
/*
 * The kernel is to have @buf, @len ≤ NOTIFIER_STORE_MAX bytes, as the whole
 * content of the inode, if it knows it. May wait for the notifier, and what is
 * stored may wait for notifier_flush(). False: the notifier is gone.
 */
bool notifier_store(uint64_t ino, const void *buf, size_t len);
bool notifier_flush(void);
/* It ends, and who waits in the two above goes on. */
void notifier_end(void);

#endif
