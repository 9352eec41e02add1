/*
 * Recording in what order the readers of a mount first ask for what: a trace
 * (engine/trace.h) that grows in the memory that one worker leaves to the next
 * (handover.h), and that the supervisor has written out (publisher.h). So the
 * worker needs no right to the file, and whoever takes it over can write bytes
 * there, but nowhere else.
 *
 * Rows that go on where the last one ended make it longer: that last row is kept
 * beside the text until another one begins.
 *
 * Threads: recorder_note() any; the supervisor reads the table meanwhile.
 */
#ifndef FS_RECORD_H
#define FS_RECORD_H

#include <stdatomic.h>
#include <stdbool.h>

#include "engine/trace.h"
#include "engine/tree.h"

/* Chunks of a row at most, so that what is written out is not far behind. */
#define RECORD_ROW_MAX 64u

struct record_table {
	atomic_uint_fast32_t len; /* of whole lines; 0: nothing is recorded */
	atomic_bool full;
	/* The row that may become longer. */
	atomic_uint_fast32_t node; /* 0: none, since that is the root */
	atomic_uint_fast32_t first, count;
	char text[TRACE_BYTES_MAX];
};

struct recorder;

/* Go on with what is in @table, which may be empty. Both outlive it. */
struct recorder *recorder_new(const struct tree *t, struct record_table *table);
/* Bytes of a file's content are asked for. @len > 0. */
void recorder_note(struct recorder *r, uint32_t node, const struct tree_node *n,
		   uint64_t off, uint64_t len);
/* The last row, too, becomes text. */
void recorder_flush(struct recorder *r);
/* @r may be NULL. */
void recorder_free(struct recorder *r);

/* Can there be a file @path? It is not made. */
int record_check(const char *path, struct error **errp);
/*
 * Replace the file @path with what is there, in one step. The table may be
 * anybody's work. 0, also when nothing is there, or -errno.
 */
int record_publish(struct record_table *table, const char *path);

#endif
