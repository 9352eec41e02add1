/*
 * Strings that must not outlive their use: overwritten before they are freed.
 */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include <stddef.h>

#include "base/strbuf.h"

/* Overwrite and free @n bytes at @p, which may be NULL. */
void wipe_free(void *p, size_t n);
/* The same for a string; leaves it NULL. */
void wipe_str(char **s);
#define cleanup_secret __attribute__((cleanup(wipe_str)))

/* No core file of this process, or of those it starts, holds a secret: there
 * is none from here on. */
void secrets_stay_out_of_cores(void);

/* A strbuf whose bytes are overwritten when it is released. Make room for all
 * of it before the first secret goes in: growing leaves copies behind. */
void strbuf_wipe(struct strbuf *sb);
/* @sb is empty; @n bytes fit in from here on. */
void strbuf_make_room(struct strbuf *sb, size_t n);
#define cleanup_secret_strbuf __attribute__((cleanup(strbuf_wipe)))

#endif
