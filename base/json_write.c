#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/path.h"

void json_writer_init(struct json_writer *w, struct strbuf *out)
{
	*w = (struct json_writer){.out = out};
}

/* A code point beyond ASCII, as one \u escape or a pair. */
static void add_escaped(struct strbuf *out, uint32_t cp)
{
	if (cp < 0x10000) {
		strbuf_addf(out, "\\u%04x", cp);
		return;
	}
	cp -= 0x10000;
	strbuf_addf(out, "\\u%04x\\u%04x", 0xd800 + (cp >> 10),
		    0xdc00 + (cp & 0x3ff));
}

static bool must_escape(const struct json_writer *w, unsigned char c)
{
	return c < 0x20 || c == '"' || c == '\\' || (w->ascii && c >= 0x7f);
}

/* Returns the bytes of @s that were dealt with. */
static size_t add_special(struct json_writer *w, const char *s, size_t n)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	const char *at = memchr(from, *s, sizeof(from) - 1);
	int32_t cp;
	ssize_t len;

	if (at) {
		strbuf_addc(w->out, '\\');
		strbuf_addc(w->out, to[at - from]);
		return 1;
	}
	len = utf8proc_iterate((const uint8_t *)s, (ssize_t)n, &cp);
	assert(len > 0);
	add_escaped(w->out, (uint32_t)cp);
	return (size_t)len;
}

static void add_string(struct json_writer *w, const char *s)
{
	size_t n = strlen(s);

	assert(utf8_valid(s, n));
	strbuf_addc(w->out, '"');
	while (n) {
		size_t run = 0;

		while (run < n && !must_escape(w, (unsigned char)s[run]))
			run++;
		strbuf_add(w->out, s, run);
		if (run < n)
			run += add_special(w, s + run, n - run);
		s += run;
		n -= run;
	}
	strbuf_addc(w->out, '"');
}

/* The comma and the key that go before a value. */
static void before_value(struct json_writer *w, const char *key)
{
	if (!w->depth) {
		assert(!key);
		return;
	}
	assert(w->stack[w->depth - 1].is_object == (key != NULL));
	if (w->stack[w->depth - 1].any)
		strbuf_addc(w->out, ',');
	w->stack[w->depth - 1].any = true;
	if (!key)
		return;
	if (w->stack[w->depth - 1].last_key)
		assert(strcmp(w->stack[w->depth - 1].last_key, key) < 0);
	free(w->stack[w->depth - 1].last_key);
	w->stack[w->depth - 1].last_key = xstrdup(key);
	add_string(w, key);
	strbuf_addc(w->out, ':');
}

static void begin(struct json_writer *w, const char *key, bool is_object)
{
	before_value(w, key);
	assert(w->depth < JSON_WRITER_DEPTH);
	w->stack[w->depth].is_object = is_object;
	w->stack[w->depth].any = false;
	w->stack[w->depth].last_key = NULL;
	w->depth++;
	strbuf_addc(w->out, is_object ? '{' : '[');
}

static void end(struct json_writer *w, bool is_object)
{
	assert(w->depth > 0 && w->stack[w->depth - 1].is_object == is_object);
	w->depth--;
	free(w->stack[w->depth].last_key);
	strbuf_addc(w->out, is_object ? '}' : ']');
}

void json_put_raw(struct json_writer *w, const char *key, const char *text)
{
	before_value(w, key);
	strbuf_adds(w->out, text);
}

void json_begin_object(struct json_writer *w, const char *key)
{
	begin(w, key, true);
}

void json_end_object(struct json_writer *w)
{
	end(w, true);
}

void json_begin_array(struct json_writer *w, const char *key)
{
	begin(w, key, false);
}

void json_end_array(struct json_writer *w)
{
	end(w, false);
}

void json_put_str(struct json_writer *w, const char *key, const char *s)
{
	before_value(w, key);
	add_string(w, s);
}

void json_put_int(struct json_writer *w, const char *key, int64_t v)
{
	before_value(w, key);
	strbuf_addf(w->out, "%" PRId64, v);
}

void json_put_bool(struct json_writer *w, const char *key, bool v)
{
	before_value(w, key);
	strbuf_adds(w->out, v ? "true" : "false");
}

void json_put_null(struct json_writer *w, const char *key)
{
	before_value(w, key);
	strbuf_adds(w->out, "null");
}

void json_put_base64(struct json_writer *w, const char *key, const void *p,
		     size_t n)
{
	before_value(w, key);
	strbuf_addc(w->out, '"');
	base64_encode(w->out, p, n);
	strbuf_addc(w->out, '"');
}

struct member {
	const struct json *v;
};

static int by_key(const void *a, const void *b)
{
	const struct member *x = a, *y = b;

	return strcmp(json_key(x->v), json_key(y->v));
}

static void put_members(struct json_writer *w, const struct json *obj)
{
	size_t n = json_count(obj), i = 0;
	cleanup_free struct member *members = xcalloc(n, sizeof(*members));

	for (const struct json *v = json_first(obj); v; v = json_next(v))
		members[i++].v = v;
	qsort(members, n, sizeof(*members), by_key);
	for (i = 0; i < n; i++)
		json_put_value(w, json_key(members[i].v), members[i].v);
}

static void put_number(struct json_writer *w, const char *key,
		       const struct json *v)
{
	int64_t n;

	if (json_int(v, &n) == 0) {
		json_put_int(w, key, n);
		return;
	}
	before_value(w, key);
	strbuf_adds(w->out, json_number_text(v));
}

void json_put_value(struct json_writer *w, const char *key,
		    const struct json *v)
{
	switch (json_type(v)) {
	case JSON_NULL:
		json_put_null(w, key);
		break;
	case JSON_BOOL:
		json_put_bool(w, key, json_bool(v, false));
		break;
	case JSON_NUMBER:
		put_number(w, key, v);
		break;
	case JSON_STRING:
		json_put_str(w, key, json_str(v));
		break;
	case JSON_ARRAY:
		json_begin_array(w, key);
		for (v = json_first(v); v; v = json_next(v))
			json_put_value(w, NULL, v);
		json_end_array(w);
		break;
	case JSON_OBJECT:
		json_begin_object(w, key);
		put_members(w, v);
		json_end_object(w);
		break;
	}
}
