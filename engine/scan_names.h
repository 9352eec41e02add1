/*
 * The names in one folder of a workspace.
 */
#ifndef ENGINE_SCAN_NAMES_H
#define ENGINE_SCAN_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* A name as it is on disk and as it is in a bundle. */
struct name {
	char *raw;
	char *nfc;        /* raw itself when equal, or when there is none */
	const char *flaw; /* why there is none */
};

struct names {
	struct name *list; /* sorted by nfc, then raw */
	size_t n, cap;
	bool has_ignore_file;
};

/* Read them all, but for ".mopsignore" and what is named ".git". @path is for
 * messages. */
int names_read(int dirfd, const char *path, struct names *ret,
	       struct error **errp);
void names_release(struct names *names);
#define cleanup_names __attribute__((cleanup(names_release)))

/* -EINVAL: @a and @b became the same name at @path. */
int refuse_twins(const char *path, const struct name *a, const struct name *b,
		 struct error **errp);

#endif
