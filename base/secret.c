#include "base/secret.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/alloc.h"

void wipe_free(void *p, size_t n)
{
	if (p)
		explicit_bzero(p, n);
	free(p);
}

void wipe_str(char **s)
{
	wipe_free(*s, *s ? strlen(*s) : 0);
	*s = NULL;
}

void strbuf_wipe(struct strbuf *sb)
{
	if (sb->buf)
		explicit_bzero(sb->buf, sb->cap);
	strbuf_release(sb);
}

void strbuf_make_room(struct strbuf *sb, size_t n)
{
	strbuf_release(sb);
	sb->cap = n + 1;
	sb->buf = xcalloc(sb->cap, 1);
}

void secrets_stay_out_of_cores(void)
{
	const struct rlimit none = {0, 0};

	/* Lowering a limit is always allowed. */
	(void)setrlimit(RLIMIT_CORE, &none);
}
