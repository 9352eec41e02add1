/*
 * Patterns over paths: the globs of bundle files and of --path
 * (docs/format.md, "What a user writes"), and the patterns of ignore files,
 * which are git's.
 *
 * A compiled glob is immutable; any thread may match. Matching takes at most
 * (pattern length × path length) steps: no pattern is slow.
 */
#ifndef ENGINE_GLOB_H
#define ENGINE_GLOB_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define GLOB_MAX 4096

struct glob;

/*
 * A bundle's glob, made NFC. `*` and `?` stop at '/', `**` as a component is
 * zero or more folders, and at the end everything below; `[a-z]`, `[!a-z]` and
 * `[[:digit:]]` match one character; dotfiles match. The pattern is for the
 * whole path below the folder. What could never match (an absolute path, an
 * empty component, '..', a backslash, a '[' without ']') is -EINVAL.
 */
int glob_compile(const char *pattern, struct glob **ret, struct error **errp);

/*
 * What stands between the slashes that an ignore file's rules take away: bytes,
 * backslash escapes. A malformed one matches nothing, as in git.
 */
struct glob *glob_compile_ignore(const char *pattern, size_t n);

/* @path: relative, in NFC, of @n bytes. */
bool glob_match(const struct glob *g, const char *path, size_t n);

void glob_free(struct glob *g);
static inline void glob_freep(struct glob **g)
{
	if (*g)
		glob_free(*g);
	*g = 0;
}
#define cleanup_glob __attribute__((cleanup(glob_freep)))

#endif
