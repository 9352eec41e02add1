/*
 * The INI dialect of the AWS tools' files: "[section]", "key = value", and
 * indented "key = value" lines below a key without a value. '#' and ';' begin
 * a line of comment. All it holds is wiped when it is freed.
 *
 * Threads: a value may be read by many.
 */
#ifndef STORAGE_INI_H
#define STORAGE_INI_H

#include <stddef.h>

#include "base/error.h"

#define INI_LINES_MAX 20000

struct ini;

/* Lines that are none of these are passed over, as others' tools do. -EINVAL
 * for NUL bytes and for more than INI_LINES_MAX lines. */
int ini_parse(const char *p, size_t n, struct ini **ret, struct error **errp);
void ini_free(struct ini *ini);
static inline void ini_freep(struct ini **ini)
{
	ini_free(*ini);
	*ini = 0;
}
#define cleanup_ini __attribute__((cleanup(ini_freep)))

/* @sub: NULL, or the indented key below @key. The last line counts. NULL: not
 * there. @ini may be NULL. */
const char *ini_get(const struct ini *ini, const char *section, const char *key,
		    const char *sub);
/* Whether there is such a section. */
int ini_has(const struct ini *ini, const char *section);

#endif
