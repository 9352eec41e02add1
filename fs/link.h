/*
 * Between the supervisor of a mount and its workers, and between a worker and
 * its outside: a socket that keeps the
 * bounds of messages; each is a letter, maybe a text, maybe descriptors.
 *
 * Threads: sending from any; receiving by the worker's main thread and by the
 * supervisor.
 */
#ifndef FS_LINK_H
#define FS_LINK_H

#include <stdbool.h>
#include <stddef.h>

#define LINK_TEXT 4096
#define LINK_FDS  3

enum link_word {
	/* From a worker. */
	LINK_MOUNTED = 'm',  /* device, lease or /dev/null, listener if any */
	LINK_REPORTED = 't', /* the first: its report is written */
	LINK_PREPARED = 'p', /* a successor: may it begin? */
	LINK_SERVING = 's',  /* a successor: it does */
	LINK_FAILED = 'f',   /* a successor: why it does not */
	LINK_ENDING = 'e',   /* in order: it wants no successor */
	LINK_UNMOUNT = 'u',  /* is answered with one of the three below */
	LINK_UPGRADE = 'g',  /* the program's path, the asking client */
	/* From a worker to its outside (outside.h), which answers
	 * LINK_UNMOUNT, too. */
	LINK_RUN = 'x',   /* the words; standard input and output, status */
	LINK_MOUNT = 'i', /* which mount it is */
	/* From a worker to its notifier (notifier.h), and then no more. */
	LINK_DEVICE = 'v',
	/* From the supervisor. */
	LINK_BEGIN = 'b',
	LINK_DONE = 'd',
	LINK_DETACHED = 'l', /* it is in use */
	LINK_REFUSED = 'r',
};

struct link_message {
	char word; /* 0: none */
	char text[LINK_TEXT];
	int fds[LINK_FDS]; /* the receiver's, which closes them; -1 */
};

/* Both ends, or -errno. */
int link_make(int ret[2]);
/* 0 or -errno; a longer text is cut. Never waits: -EAGAIN when the other side
 * does not read. */
int link_send(int fd, enum link_word word, const char *text, const int *fds,
	      size_t n_fds);
/* Wait for one. False: the other side is gone, or sends what is none. */
bool link_receive(int fd, struct link_message *ret);

/* Ask the supervisor to unmount: 0 done, 1 detached because it is in use; -EIO
 * it could not, -ETIMEDOUT it does not answer, -EPIPE it is gone; or as
 * link_send(). */
int link_ask_unmount(int fd);
/* The answer: what unmount_own() returned. */
void link_tell_unmounted(int fd, int r);

#endif
