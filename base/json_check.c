#include "base/json_check.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <utf8proc.h>

#include "base/map.h"
#include "base/strbuf.h"

#define NUMBER_MAX 63 /* what cJSON looks at */

struct checker {
	const char *start, *p, *end;
	size_t max_values, values;
	unsigned depth;
	struct json_numbers *numbers;
	struct error **errp;
};

static int fail(struct checker *c, const char *what)
{
	const char *line = c->start;
	size_t row = 1;

	for (const char *p = c->start; p < c->p; p++)
		if (*p == '\n') {
			line = p + 1;
			row++;
		}
	return error_set(c->errp, EINVAL, "line %zu, column %zu: %s", row,
			 (size_t)(c->p - line) + 1, what);
}

/* The next byte, or -1 at the end. */
static int peek(const struct checker *c)
{
	return c->p < c->end ? (unsigned char)*c->p : -1;
}

static void skip_space(struct checker *c)
{
	while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' ||
				 *c->p == '\n' || *c->p == '\r'))
		c->p++;
}

static bool is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static int digits(struct checker *c)
{
	if (!is_digit(peek(c)))
		return fail(c, "a digit expected");
	while (is_digit(peek(c)))
		c->p++;
	return 0;
}

static int check_fraction_and_exponent(struct checker *c)
{
	int r = 0;

	if (peek(c) == '.') {
		c->p++;
		r = digits(c);
	}
	if (r == 0 && (peek(c) == 'e' || peek(c) == 'E')) {
		c->p++;
		if (peek(c) == '+' || peek(c) == '-')
			c->p++;
		r = digits(c);
	}
	return r;
}

static void add_number(struct json_numbers *numbers, const char *p, size_t n)
{
	ARRAY_GROW(numbers->v, numbers->n, numbers->cap);
	numbers->v[numbers->n++] = (struct json_number){p, n};
}

static int check_number(struct checker *c)
{
	const char *from = c->p;
	int r = 0;

	if (peek(c) == '-')
		c->p++;
	if (peek(c) == '0')
		c->p++;
	else
		r = digits(c);
	if (r == 0)
		r = check_fraction_and_exponent(c);
	if (r < 0)
		return r;
	if (c->p - from > NUMBER_MAX)
		return fail(c, "the number is too long");
	add_number(c->numbers, from, (size_t)(c->p - from));
	return 0;
}

/* The value of the four digits at the reader, which moves past them; -1. */
static int hex4(struct checker *c)
{
	int v = 0;

	if (c->end - c->p < 4)
		return -1;
	for (int i = 0; i < 4; i++, c->p++) {
		int lower = *c->p | 0x20;

		if (is_digit(*c->p))
			v = v << 4 | (*c->p - '0');
		else if (lower >= 'a' && lower <= 'f')
			v = v << 4 | (lower - 'a' + 10);
		else
			return -1;
	}
	return v;
}

static void add_code_point(struct strbuf *out, int32_t cp)
{
	uint8_t utf8[4];

	strbuf_add(out, utf8, (size_t)utf8proc_encode_char(cp, utf8));
}

/* After "\u". */
static int check_unicode_escape(struct checker *c, struct strbuf *decoded)
{
	int hi = hex4(c), lo;

	if (hi < 0)
		return fail(c, "four hex digits expected after \\u");
	if (hi == 0)
		return fail(c, "\\u0000 is not allowed");
	if (hi >= 0xd800 && hi <= 0xdbff) {
		if (c->end - c->p < 2 || c->p[0] != '\\' || c->p[1] != 'u')
			return fail(c, "a lone surrogate");
		c->p += 2;
		lo = hex4(c);
		if (lo < 0xdc00 || lo > 0xdfff)
			return fail(c, "a lone surrogate");
		hi = 0x10000 + ((hi - 0xd800) << 10) + (lo - 0xdc00);
	} else if (hi >= 0xdc00 && hi <= 0xdfff) {
		return fail(c, "a lone surrogate");
	}
	if (decoded)
		add_code_point(decoded, hi);
	return 0;
}

/* After the backslash. */
static int check_escape(struct checker *c, struct strbuf *decoded)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	int ch = peek(c);
	const char *at;

	if (ch == 'u') {
		c->p++;
		return check_unicode_escape(c, decoded);
	}
	at = ch > 0 ? strchr(from, ch) : NULL;
	if (!at)
		return fail(c, "unknown escape in a string");
	c->p++;
	if (decoded)
		strbuf_addc(decoded, to[at - from]);
	return 0;
}

/* Neither beyond ASCII nor with a meaning in a string. */
static bool is_plain(unsigned char ch)
{
	return ch >= 0x20 && ch < 0x80 && ch != '"' && ch != '\\';
}

/* A run of plain ASCII, or one character beyond it. */
static int check_plain(struct checker *c, struct strbuf *decoded)
{
	const char *from = c->p;
	utf8proc_ssize_t n;
	int32_t cp;

	while (c->p < c->end && is_plain((unsigned char)*c->p))
		c->p++;
	if (c->p == from) {
		if (peek(c) < 0)
			return fail(c, "the string does not end");
		if (peek(c) < 0x20)
			return fail(c, "a control character in a string");
		n = utf8proc_iterate((const uint8_t *)c->p, c->end - c->p, &cp);
		if (n <= 0)
			return fail(c, "invalid UTF-8");
		c->p += n;
	}
	if (decoded)
		strbuf_add(decoded, from, (size_t)(c->p - from));
	return 0;
}

static int check_string(struct checker *c, struct strbuf *decoded)
{
	int r = 0;

	if (peek(c) != '"')
		return fail(c, "a string expected");
	c->p++;
	while (r == 0 && peek(c) != '"') {
		if (peek(c) == '\\') {
			c->p++;
			r = check_escape(c, decoded);
		} else {
			r = check_plain(c, decoded);
		}
	}
	if (r == 0)
		c->p++;
	return r;
}

static int check_value(struct checker *c);

static int check_member(struct checker *c, struct map *keys)
{
	cleanup_strbuf struct strbuf key = STRBUF_INIT;
	int r = check_string(c, &key);

	if (r < 0)
		return r;
	if (map_put(keys, strbuf_str(&key), key.len, keys))
		return fail(c, "the key is there already");
	skip_space(c);
	if (peek(c) != ':')
		return fail(c, "':' expected");
	c->p++;
	skip_space(c);
	return check_value(c);
}

/* Members or elements up to @close; @keys is NULL in an array. */
static int check_items(struct checker *c, int close, struct map *keys)
{
	c->p++;
	skip_space(c);
	if (peek(c) == close) {
		c->p++;
		return 0;
	}
	for (;;) {
		int r = keys ? check_member(c, keys) : check_value(c);

		if (r < 0)
			return r;
		skip_space(c);
		if (peek(c) == close)
			break;
		if (peek(c) != ',')
			return fail(c, close == '}' ? "',' or '}' expected"
						    : "',' or ']' expected");
		c->p++;
		skip_space(c);
	}
	c->p++;
	return 0;
}

static int check_container(struct checker *c)
{
	cleanup_map struct map keys = MAP_INIT;
	int r;

	if (c->depth == JSON_MAX_DEPTH)
		return fail(c, "nested too deeply");
	c->depth++;
	r = peek(c) == '{' ? check_items(c, '}', &keys)
			   : check_items(c, ']', NULL);
	c->depth--;
	return r;
}

static int check_word(struct checker *c, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n) != 0)
		return fail(c, "a value expected");
	c->p += n;
	return 0;
}

static int check_value(struct checker *c)
{
	if (c->values++ == c->max_values)
		return fail(c, "too many values");
	switch (peek(c)) {
	case '{':
	case '[':
		return check_container(c);
	case '"':
		return check_string(c, NULL);
	case 't':
		return check_word(c, "true");
	case 'f':
		return check_word(c, "false");
	case 'n':
		return check_word(c, "null");
	default:
		if (peek(c) != '-' && !is_digit(peek(c)))
			return fail(c, "a value expected");
		return check_number(c);
	}
}

int json_check(const char *s, size_t n, const struct json_limits *lim,
	       struct json_numbers *numbers, struct error **errp)
{
	struct checker c = {
		.start = s,
		.p = s,
		.end = s + n,
		.max_values = lim->max_values,
		.numbers = numbers,
		.errp = errp,
	};
	int r;

	if (n > lim->max_bytes)
		return error_set(errp, EINVAL,
				 "the document has more than %zu bytes",
				 lim->max_bytes);
	skip_space(&c);
	r = check_value(&c);
	if (r < 0)
		return r;
	skip_space(&c);
	if (c.p != c.end)
		return fail(&c, "something follows the value");
	return 0;
}
