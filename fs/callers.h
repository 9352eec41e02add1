/*
 * What the kernel tells of a process that waits for us.
 *
 * Threads: any.
 */
#ifndef FS_CALLERS_H
#define FS_CALLERS_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * From the text of /proc/<pid>/status: is a signal pending, neither blocked
 * nor ignored, that kills the process, or that a handler is there for and that
 * asks to end (SIGINT, SIGTERM, SIGHUP, SIGQUIT)?
 */
bool status_shows_end(const char *status);

/* The same for a thread by its id; true as well when it is gone. */
bool caller_is_dying(pid_t tid);

#endif
