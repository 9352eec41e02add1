/*
 * The supervisor's part of a recording (record.h): every now and then, and in the
 * end, a process of its own writes what is there to the file, since a file system
 * may block. What fails is tried again.
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
	size_t writing;   /* how much there was when it began */
	size_t written;   /* how much is in the file */
	int64_t next_ns;
	char complaint[128]; /* the last one, until a write succeeds */
};

/* Is it time to write, and is there anything new? */
void publisher_look(struct publisher *p, struct record_table *t,
		    int64_t now_ns);
/* True: it was the one who wrote. */
bool publisher_died(struct publisher *p, pid_t pid, int status);
/* Write all of it. Each of three waits, for who still writes, for its death, and
 * for the last one, is no longer than @patience_ms; the last one then goes on
 * alone. */
void publisher_end(struct publisher *p, struct record_table *t,
		   int64_t patience_ms);

#endif
