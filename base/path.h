/*
 * Names and paths inside a bundle.
 *
 * A component is UTF-8 of 1–255 bytes, never "." or "..", without slash,
 * backslash, NUL, C0, C1 or DEL. A path is ≤ 2,048 bytes and ≤ 64 components,
 * relative, without empty components. Nothing at the top begins with ".mops";
 * nothing anywhere is named ".git" in any ASCII case.
 *
 * Push stores NFC; readers check everything but the normal form, since that
 * depends on the Unicode version.
 */
#ifndef BASE_PATH_H
#define BASE_PATH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define PATH_COMPONENT_MAX 255
#define PATH_BYTES_MAX     2048
#define PATH_DEPTH_MAX     64
#define LINK_TARGET_MAX    1024

bool utf8_valid(const char *s, size_t n);

/* What is wrong with one component, in a few words; NULL: nothing. Knows all
 * but the rule for the top level. */
const char *path_component_flaw(const char *s, size_t n);
/* The same for a whole path, the rule for the top level included. */
const char *path_flaw(const char *s, size_t n);
/* True for a top-level name that is reserved (".mops…"). */
bool path_reserved_at_top(const char *s, size_t n);
/* ".git" in any ASCII case. */
bool path_is_dotgit(const char *s, size_t n);

/*
 * What is wrong with a symlink at depth @depth (number of folders between the
 * bundle's top and the link; 0 for a link at the top) and target @s; NULL:
 * nothing. Zero or more leading ".." (≤ @depth), then valid components; not
 * empty.
 */
const char *link_target_flaw(const char *s, size_t n, unsigned depth);

/*
 * NFC of @s on the heap. -EINVAL for invalid UTF-8, NUL and unassigned code
 * points.
 */
int path_to_nfc(const char *s, size_t n, char **ret, struct error **errp);
/* NFC of the default case folding, to find names that differ only in case.
 * -EINVAL for invalid UTF-8 and NUL. */
int path_casefold(const char *s, size_t n, char **ret, struct error **errp);

/* [a-z0-9][a-z0-9._-]{0,62}: layer and role names. */
bool layer_name_valid(const char *s);

#endif
