#include "base/escape.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <utf8proc.h>

#include "base/alloc.h"

static bool harmful(int32_t c)
{
	return c < 0x20 || (c >= 0x7f && c <= 0x9f) ||     /* C0, DEL, C1 */
	       c == 0x61c || c == 0x200e || c == 0x200f || /* marks */
	       (c >= 0x202a && c <= 0x202e) ||             /* overrides */
	       (c >= 0x2066 && c <= 0x2069);               /* isolates */
}

static void add_hex(struct strbuf *out, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		strbuf_addf(out, "\\x%02x", (unsigned char)s[i]);
}

void escape_add(struct strbuf *out, const char *s, size_t n)
{
	while (n) {
		int32_t c;
		ssize_t len =
			utf8proc_iterate((const uint8_t *)s, (ssize_t)n, &c);
		size_t step = len > 0 ? (size_t)len : 1;

		if (len <= 0 || harmful(c))
			add_hex(out, s, step);
		else if (c == '\\')
			strbuf_adds(out, "\\\\");
		else
			strbuf_add(out, s, step);
		s += step;
		n -= step;
	}
}

static size_t plain_ascii(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n && s[i] >= 0x20 && s[i] < 0x7f)
		i++;
	return i;
}

void escape_add_json(struct strbuf *out, const char *s, size_t n)
{
	while (n) {
		size_t step = plain_ascii(s, n);
		int32_t c = ' ';
		ssize_t len;

		if (step) {
			strbuf_add(out, s, step);
			s += step;
			n -= step;
			continue;
		}
		len = utf8proc_iterate((const uint8_t *)s, (ssize_t)n, &c);
		step = len > 0 ? (size_t)len : 1;
		if (len <= 0)
			strbuf_adds(out, "\\ufffd");
		else if (c < 0x20)
			strbuf_addc(out, ' ');
		else if (harmful(c))
			strbuf_addf(out, "\\u%04x", (unsigned)c);
		else
			strbuf_add(out, s, step);
		s += step;
		n -= step;
	}
}

char *escape_str(const char *s)
{
	struct strbuf sb = STRBUF_INIT;

	escape_add(&sb, s, strlen(s));
	return strbuf_steal(&sb);
}

void print_line(FILE *f, const char *fmt, ...)
{
	cleanup_strbuf struct strbuf sb = STRBUF_INIT;
	cleanup_free char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	escape_add(&sb, text, strlen(text));
	strbuf_addc(&sb, '\n');
	fwrite(sb.buf, 1, sb.len, f);
}
