/*
 * Output that cannot be abused: every foreign name that reaches a terminal or
 * a log passes here. C0, C1, DEL, bidirectional controls and invalid UTF-8
 * become \xNN of their bytes; a backslash becomes two.
 */
#ifndef BASE_ESCAPE_H
#define BASE_ESCAPE_H

#include <stddef.h>
#include <stdio.h>

#include "base/strbuf.h"

void escape_add(struct strbuf *out, const char *s, size_t n);
/* Of a JSON text, which stays one and says the same: within its strings these
 * become \uNNNN, and white space between them one line. */
void escape_add_json(struct strbuf *out, const char *s, size_t n);
/* On the heap. */
char *escape_str(const char *s);

/* A result or a message: formatted, escaped (newlines too), one newline. */
void print_line(FILE *f, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
