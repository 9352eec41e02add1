/*
 * Text for a page. Foreign names pass html_text(): shown as the terminal shows
 * them (base/escape.h), and never markup. They stand between tags, not in
 * attributes.
 */
#ifndef CLI_PAGE_HTML_H
#define CLI_PAGE_HTML_H

#include <stdint.h>

#include "base/digest.h"
#include "base/strbuf.h"

void html_text(struct strbuf *out, const char *s, size_t n);
void html_str(struct strbuf *out, const char *s);
/* The same of at most @max characters, of which "…" replaces the first. */
void html_tail(struct strbuf *out, const char *s, size_t n, size_t max);
/* "1,234,567" */
void html_count(struct strbuf *out, uint64_t n);
/* "1.2 GiB", with the exact number for programs. */
void html_bytes(struct strbuf *out, const char *class, uint64_t bytes);
/* "45 %" of @all: 0 and 100 are said of nothing and everything alone. */
void html_percent(struct strbuf *out, uint64_t part, uint64_t all);
/* A text to copy: a click does, where there is a script. */
void html_copy(struct strbuf *out, const char *s);
void html_digest(struct strbuf *out, const struct digest *d);

#endif
