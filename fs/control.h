/*
 * The status socket of a mount: a Unix socket, 0600, named after the mount's
 * device number, so that it is found from any path (bind mounts included)
 * without touching the mount.
 *
 * A client sends one line and reads to the end: "status" gives one JSON object,
 * "metrics" the same counters in the Prometheus text format (also as the answer
 * to "GET /metrics HTTP/1.x", with an HTTP header), "warm PATH" what warm_jobs.h says
 * of a path in the mount. "prefetch pause" and "prefetch resume" are answered with
 * what the prefetch is then, as in the status, or with why there is none. "upgrade
 * PATH" makes the asking program, which is to be the one at PATH, serve the mount;
 * the answer, "done" or "failed WHY", is the supervisor's. A client whose worker
 * dies asks again.
 *
 * Threads: one thread of its own serves it; a slow client is dropped.
 */
#ifndef FS_CONTROL_H
#define FS_CONTROL_H

#include <sys/stat.h>

#include "fs/mount.h"

struct control;

/* Never fatal to a mount: NULL, and a line in the log, when it cannot be.
 * @listener is a predecessor's socket, or -1: a new one. Who asks waits for
 * control_serve(). */
struct control *control_open(struct mount *m, int link, int listener);
/* Begin to answer, once all that is asked for is set in the mount; NULL: no. */
void control_serve(struct control *c);
/* Where a listening socket is, heap; NULL: nowhere. */
char *control_path(int listener);
/* The listening socket, still the control's; -1 for NULL. */
int control_listener(const struct control *c);
/* Which file its name leads to now; all 0: none. */
void control_look(int listener, struct stat *ret);
/* Remove its name, unless that leads to another file than @own by now: to the
 * socket of another mount, which has the number that this one had. */
void control_remove(int listener, const struct stat *own);
/* Removes the socket; joins. */
void control_stop(struct control *c);

/* Ask the mount with this device number. *@ret gets the answer. -ENOENT: no
 * socket is found; -ECONNREFUSED: nobody listens; -EAGAIN: nothing for
 * @patience_s. */
int control_ask(unsigned major, unsigned minor, const char *what,
		unsigned patience_s, struct strbuf *ret);
#define CONTROL_PATIENCE_S 5

#endif
