/*
 * A temporary folder of a test's own.
 */
#ifndef TESTS_LIB_TMPDIR_H
#define TESTS_LIB_TMPDIR_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/io.h"

/* Heap; ends the program when there is none to be had. */
static inline char *tmpdir_new(void)
{
	const char *base = getenv("TMPDIR");
	char *path = xasprintf("%s/mops-test-XXXXXX", base ? base : "/tmp");

	if (!mkdtemp(path)) {
		perror(path);
		exit(99);
	}
	return path;
}

/* Removes it with all that is in it, and frees the path. */
static inline void tmpdir_remove(char *take_path)
{
	if (take_path)
		io_remove_tree(AT_FDCWD, take_path);
	free(take_path);
}

static inline void tmpdir_removep(char **path)
{
	tmpdir_remove(*path);
	*path = NULL;
}
#define cleanup_tmpdir __attribute__((cleanup(tmpdir_removep)))

#endif
