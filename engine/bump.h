/*
 * The next version of a bundle, and the bundle file that says it.
 */
#ifndef ENGINE_BUMP_H
#define ENGINE_BUMP_H

#include <stddef.h>

#include "base/error.h"

/* @part is "major", "minor" or "patch": that number of MAJOR.MINOR.PATCH rises,
 * those behind it become 0. -EINVAL for anything else. *@ret is on the heap. */
int version_bump(const char *version, const char *part, char **ret,
		 struct error **errp);

/*
 * Let the bundle file text @buf say version @to in place of @from, and nothing
 * else: comments, quotes and order stay. *@ret is on the heap. -EINVAL when it
 * does not say @from.
 */
int bundle_file_reversion(const char *buf, size_t n, const char *from,
			  const char *to, char **ret, size_t *ret_len,
			  struct error **errp);

/* The same of the folder @dir's file, which is replaced whole. */
int bundle_file_bump(const char *dir, const char *from, const char *to,
		     struct error **errp);

#endif
