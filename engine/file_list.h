/*
 * A list of files of a role, as a user writes it: a path of a file or a folder,
 * or a glob, a line; empty lines and those that begin with '#' say nothing.
 *
 * Threads: one.
 */
#ifndef ENGINE_FILE_LIST_H
#define ENGINE_FILE_LIST_H

#include "engine/source_set.h"

#define FILE_LIST_BYTES_MAX (16u << 20)
/* Each takes a walk over the whole tree. */
#define FILE_LIST_GLOBS_MAX 64u

struct file_list_counts {
	uint64_t files, bytes; /* each file once */
	uint64_t skipped;      /* lines that name no file */
};

/* Can it be read? -EINVAL: a line cannot; -EFBIG: it is too long. */
int file_list_check(const char *text, size_t n, struct error **errp);
/* The sources of its files, in the order of its lines. The same, or what a
 * source says. */
int file_list_add(const char *text, size_t n, struct source_set *set,
		  struct file_list_counts *ret, const struct op *op,
		  struct error **errp);

#endif
