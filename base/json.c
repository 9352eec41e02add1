/*
 * The strict front: one pass over the bytes that accepts RFC 8259 and nothing
 * more, before cJSON builds the tree. The pass remembers where each number
 * stands. cJSON keeps a double only, so each number's text is put beside it,
 * into the string slot that numbers leave unused.
 */
#include "base/json.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/alloc.h"
#include "base/map.h"

#define NUMBER_MAX 63 /* what cJSON looks at */

const struct json_limits JSON_LIMITS_DOC = {JSON_MAX_DOC, JSON_MAX_VALUES};
const struct json_limits JSON_LIMITS_BIG = {(size_t)64 << 20,
					    JSON_MAX_VALUES_BIG};

struct span {
	const char *p;
	size_t n;
};

struct checker {
	const char *start, *p, *end;
	size_t max_values, values;
	unsigned depth;
	struct span *numbers; /* in document order */
	size_t n_numbers, cap_numbers;
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
	ARRAY_GROW(c->numbers, c->n_numbers, c->cap_numbers);
	c->numbers[c->n_numbers++] = (struct span){from, (size_t)(c->p - from)};
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

static int check_document(struct checker *c, size_t max_bytes)
{
	int r;

	if ((size_t)(c->end - c->p) > max_bytes)
		return error_set(c->errp, EINVAL,
				 "the document has more than %zu bytes",
				 max_bytes);
	skip_space(c);
	r = check_value(c);
	if (r < 0)
		return r;
	skip_space(c);
	if (c->p != c->end)
		return fail(c, "something follows the value");
	return 0;
}

/* Give the numbers below @v their text; they come in document order. */
static void keep_numbers(cJSON *v, const struct span **next)
{
	if (cJSON_IsNumber(v)) {
		v->valuestring = xstrndup((*next)->p, (*next)->n);
		(*next)++;
	}
	for (cJSON *child = v->child; child; child = child->next)
		keep_numbers(child, next);
}

int json_parse(const void *p, size_t n, const struct json_limits *lim,
	       struct json **ret, struct error **errp)
{
	const char *text = n ? p : ""; /* NULL is fine for no bytes */
	struct checker c = {
		.start = text,
		.p = text,
		.end = text + n,
		.max_values = lim->max_values,
		.errp = errp,
	};
	cleanup_free struct span *numbers = NULL;
	const struct span *next;
	cJSON *root;
	int r = check_document(&c, lim->max_bytes);

	next = numbers = c.numbers;
	if (r < 0)
		return r;
	root = cJSON_ParseWithLengthOpts(text, n, NULL, false);
	if (!root)
		return error_set_errno(errp, ENOMEM, "reading JSON");
	keep_numbers(root, &next);
	assert((size_t)(next - numbers) == c.n_numbers);
	*ret = (struct json *)root;
	return 0;
}

void json_free(struct json *root)
{
	cJSON_Delete((cJSON *)root);
}

/* A value is a cJSON item under another name. */
static const cJSON *item(const struct json *v)
{
	return (const cJSON *)v;
}

enum json_type json_type(const struct json *v)
{
	if (!v)
		return JSON_NULL;
	switch (item(v)->type & 0xff) {
	case cJSON_False:
	case cJSON_True:
		return JSON_BOOL;
	case cJSON_Number:
		return JSON_NUMBER;
	case cJSON_String:
		return JSON_STRING;
	case cJSON_Array:
		return JSON_ARRAY;
	case cJSON_Object:
		return JSON_OBJECT;
	default:
		return JSON_NULL;
	}
}

static bool is_container(const struct json *v)
{
	return v && (cJSON_IsObject(item(v)) || cJSON_IsArray(item(v)));
}

const struct json *json_get(const struct json *obj, const char *key)
{
	if (!obj || !cJSON_IsObject(item(obj)))
		return NULL;
	return (const struct json *)cJSON_GetObjectItemCaseSensitive(item(obj),
								     key);
}

const struct json *json_first(const struct json *container)
{
	if (!is_container(container))
		return NULL;
	return (const struct json *)item(container)->child;
}

const struct json *json_next(const struct json *elem)
{
	return (const struct json *)item(elem)->next;
}

const char *json_key(const struct json *member)
{
	return item(member)->string;
}

size_t json_count(const struct json *container)
{
	size_t n = 0;

	for (const struct json *v = json_first(container); v; v = json_next(v))
		n++;
	return n;
}

const char *json_str(const struct json *v)
{
	return v && cJSON_IsString(item(v)) ? item(v)->valuestring : NULL;
}

bool json_bool(const struct json *v, bool dflt)
{
	return v && cJSON_IsBool(item(v)) ? cJSON_IsTrue(item(v)) : dflt;
}

int json_int(const struct json *v, int64_t *ret)
{
	const char *text;
	long long value;
	char *end;

	if (!v || !cJSON_IsNumber(item(v)))
		return -EINVAL;
	text = item(v)->valuestring;
	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno || *end)
		return -EINVAL;
	*ret = value;
	return 0;
}

const char *json_number_text(const struct json *v)
{
	return v && cJSON_IsNumber(item(v)) ? item(v)->valuestring : NULL;
}

static int need(const struct json *obj, const char *key,
		const struct json **ret, struct error **errp)
{
	*ret = json_get(obj, key);
	if (!*ret)
		return error_set(errp, EINVAL, "'%s' is missing", key);
	return 0;
}

int json_need_str(const struct json *obj, const char *key, const char **ret,
		  struct error **errp)
{
	const struct json *v;
	int r = need(obj, key, &v, errp);

	if (r < 0)
		return r;
	if (!json_str(v))
		return error_set(errp, EINVAL, "'%s' is not a string", key);
	*ret = json_str(v);
	return 0;
}

int json_need_size(const struct json *obj, const char *key, uint64_t *ret,
		   struct error **errp)
{
	const struct json *v;
	int64_t size;
	int r = need(obj, key, &v, errp);

	if (r < 0)
		return r;
	if (json_int(v, &size) < 0 || size < 0)
		return error_set(errp, EINVAL,
				 "'%s' is not an integer from 0 to 2^63-1",
				 key);
	*ret = (uint64_t)size;
	return 0;
}

int json_need_array(const struct json *obj, const char *key,
		    const struct json **ret, struct error **errp)
{
	const struct json *v;
	int r = need(obj, key, &v, errp);

	if (r < 0)
		return r;
	if (json_type(v) != JSON_ARRAY)
		return error_set(errp, EINVAL, "'%s' is not an array", key);
	*ret = v;
	return 0;
}

int json_need_object(const struct json *obj, const char *key,
		     const struct json **ret, struct error **errp)
{
	const struct json *v;
	int r = need(obj, key, &v, errp);

	if (r < 0)
		return r;
	if (json_type(v) != JSON_OBJECT)
		return error_set(errp, EINVAL, "'%s' is not an object", key);
	*ret = v;
	return 0;
}
