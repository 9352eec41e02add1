/*
 * The supervisor's part of a recording (record.h): every now and then a process
 * of its own writes what is there to the file, since a file system may block, and
 * in the end the supervisor does.
 *
 * Threads: one, that of the supervisor.
 */
#ifndef FS_PUBLISHER_H
#define FS_PUBLISHER_H

#include <stdbool.h>
#include <sys/types.h>

#include "fs/record.h"

struct publisher {
	const char *path; /* NULL: nothing is recorded */
	pid_t pid;        /* of who writes now; 0 */
	size_t written;   /* how much there was the last time */
	int64_t next_ns;
};

/* Is it time to write, and is there anything new? */
void publisher_look(struct publisher *p, struct record_table *t,
		    int64_t now_ns);
/* True: it was the one who wrote. */
bool publisher_died(struct publisher *p, pid_t pid, int status);
/* Write, whatever that takes. */
void publisher_end(struct publisher *p, struct record_table *t);

#endif
