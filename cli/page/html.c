#include "cli/page/html.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/escape.h"
#include "cli/output.h"

static void add_markup_free(struct strbuf *out, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		switch (s[i]) {
		case '&':
			strbuf_adds(out, "&amp;");
			break;
		case '<':
			strbuf_adds(out, "&lt;");
			break;
		case '>':
			strbuf_adds(out, "&gt;");
			break;
		case '"':
			strbuf_adds(out, "&quot;");
			break;
		case '\'':
			strbuf_adds(out, "&#39;");
			break;
		default:
			strbuf_addc(out, s[i]);
		}
}

void html_text(struct strbuf *out, const char *s, size_t n)
{
	cleanup_strbuf struct strbuf shown = STRBUF_INIT;

	escape_add(&shown, s, n);
	add_markup_free(out, strbuf_str(&shown), shown.len);
}

void html_str(struct strbuf *out, const char *s)
{
	html_text(out, s, strlen(s));
}

static bool begins_character(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80;
}

void html_tail(struct strbuf *out, const char *s, size_t n, size_t max)
{
	cleanup_strbuf struct strbuf shown = STRBUF_INIT;
	const char *p, *begin;
	size_t left = max;

	escape_add(&shown, s, n);
	begin = strbuf_str(&shown);
	p = begin + shown.len;
	for (; p > begin && left; p--)
		left -= begins_character(p[-1]);
	if (p > begin)
		strbuf_adds(out, "…");
	add_markup_free(out, p, (size_t)(begin + shown.len - p));
}

void html_count(struct strbuf *out, uint64_t n)
{
	char digits[24];
	int len =
		snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			strbuf_addc(out, ',');
		strbuf_addc(out, digits[i]);
	}
}

void html_bytes(struct strbuf *out, const char *class, uint64_t bytes)
{
	strbuf_addf(out, "<data class=\"%s\" value=\"%llu\">%s</data>", class,
		    (unsigned long long)bytes, output_size(bytes).str);
}

void html_percent(struct strbuf *out, uint64_t part, uint64_t all)
{
	unsigned percent;

	if (part >= all)
		percent = part ? 100 : 0;
	else
		percent = (unsigned)((double)part * 100 / (double)all);
	if (part && part < all)
		percent = percent < 1 ? 1 : percent > 99 ? 99 : percent;
	strbuf_addf(out, "%u %%", percent);
}

void html_copy(struct strbuf *out, const char *s)
{
	strbuf_adds(out, "<code class=\"copy\">");
	html_str(out, s);
	strbuf_adds(out, "</code>");
}

void html_digest(struct strbuf *out, const struct digest *d)
{
	html_copy(out, digest_to_str(d).str);
}
