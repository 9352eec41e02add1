#include "storage/http_headers.h"

#include <curl/curl.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/strbuf.h"
#include "storage/http.h"

#define RETRY_AFTER_MAX_S 86400

/* RFC 9110 section 5.6.2 */
static bool is_token_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static const char *skip_blanks(const char *s)
{
	while (is_blank(*s))
		s++;
	return s;
}

void http_headers_release(struct http_headers *h)
{
	for (size_t i = 0; i < h->n; i++) {
		free(h->v[i].name);
		free(h->v[i].value);
	}
	free(h->v);
	*h = (struct http_headers){0};
}

static void lower(char *s)
{
	for (; *s; s++)
		if (*s >= 'A' && *s <= 'Z')
			*s += 'a' - 'A';
}

bool http_headers_add(struct http_headers *h, const char *line, size_t n)
{
	const char *end = line + n;
	const char *p = line;
	struct http_header *field;

	while (p < end && is_token_char(*p))
		p++;
	if (p == line || p == end || *p != ':' || memchr(line, '\0', n))
		return false;
	ARRAY_GROW(h->v, h->n, h->cap);
	field = &h->v[h->n++];
	field->name = xstrndup(line, (size_t)(p - line));
	lower(field->name);
	for (p++; p < end && is_blank(*p); p++)
		;
	while (end > p && is_blank(end[-1]))
		end--;
	field->value = xstrndup(p, (size_t)(end - p));
	return true;
}

const char *http_header_find(const struct http_header *v, size_t n,
			     const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(v[i].name, name) == 0)
			return v[i].value;
	return NULL;
}

/* Decimal digits at *@s, which moves past them. */
static bool take_number(const char **s, uint64_t *ret)
{
	const char *p = *s;
	uint64_t v = 0;

	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++) {
		unsigned digit = (unsigned)(*p - '0');

		if (v > ((uint64_t)INT64_MAX - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*s = p;
	*ret = v;
	return true;
}

bool http_parse_length(const char *s, uint64_t *ret)
{
	uint64_t v;

	if (!take_number(&s, &v) || *s)
		return false;
	*ret = v;
	return true;
}

bool http_parse_upload_range(const char *s, uint64_t *ret_next)
{
	uint64_t first, last;

	if (strncasecmp(s, "bytes=", 6) == 0)
		s += 6;
	if (!take_number(&s, &first) || *s++ != '-' ||
	    !take_number(&s, &last) || *s || first != 0)
		return false;
	*ret_next = last ? last + 1 : 0;
	return true;
}

bool http_parse_content_range(const char *s, struct content_range *ret)
{
	struct content_range r = {.total = UINT64_MAX};

	if (strncasecmp(s, "bytes", 5) != 0 || !is_blank(s[5]))
		return false;
	s = skip_blanks(s + 5);
	if (!take_number(&s, &r.first) || *s++ != '-' ||
	    !take_number(&s, &r.last) || *s++ != '/')
		return false;
	if (*s == '*')
		s++;
	else if (!take_number(&s, &r.total))
		return false;
	if (*s || r.last < r.first || r.last >= r.total)
		return false;
	*ret = r;
	return true;
}

int64_t http_parse_date(const char *s)
{
	time_t t = curl_getdate(s, NULL);

	return t < 0 ? -1 : (int64_t)t;
}

int64_t http_parse_retry_after(const char *s, int64_t now_s)
{
	uint64_t seconds;
	int64_t date;

	if (*s >= '0' && *s <= '9') {
		if (!http_parse_length(s, &seconds))
			return -1;
		return (int64_t)MIN(seconds, RETRY_AFTER_MAX_S) * 1000;
	}
	date = http_parse_date(s);
	if (date < 0)
		return -1;
	if (date <= now_s)
		return 0;
	return MIN(date - now_s, RETRY_AFTER_MAX_S) * 1000;
}

char *http_media_type(const char *s)
{
	const char *p, *subtype;
	char *type;

	if (!s)
		return NULL;
	s = skip_blanks(s);
	for (p = s; is_token_char(*p); p++)
		;
	if (p == s || *p != '/')
		return NULL;
	subtype = ++p;
	while (is_token_char(*p))
		p++;
	if (p == subtype || (*skip_blanks(p) && *skip_blanks(p) != ';'))
		return NULL;
	type = xstrndup(s, (size_t)(p - s));
	lower(type);
	return type;
}

/* A quoted string at *@s (on its opening quote), unescaped. */
static bool take_quoted(const char **s, struct strbuf *out)
{
	const char *p = *s + 1;

	for (; *p && *p != '"'; p++) {
		if (*p == '\\' && p[1])
			p++;
		strbuf_addc(out, *p);
	}
	if (*p != '"')
		return false;
	*s = p + 1;
	return true;
}

static bool take_token(const char **s, struct strbuf *out)
{
	const char *p = *s;

	while (is_token_char(*p))
		p++;
	if (p == *s)
		return false;
	strbuf_add(out, *s, (size_t)(p - *s));
	*s = p;
	return true;
}

/* True when "next" is among the blank-separated relations. */
static bool has_relation_next(const char *rel)
{
	while (*rel) {
		size_t n = strcspn(rel, " \t");

		if (n == 4 && strncasecmp(rel, "next", 4) == 0)
			return true;
		rel += n;
		rel = skip_blanks(rel);
	}
	return false;
}

/* ";name=value" at *@s. Only the first rel counts (RFC 8288 section 3.3). */
static bool take_link_param(const char **s, bool *seen_rel, bool *next)
{
	cleanup_strbuf struct strbuf name = STRBUF_INIT;
	cleanup_strbuf struct strbuf value = STRBUF_INIT;

	*s = skip_blanks(*s + 1);
	if (!take_token(s, &name))
		return **s == ';' || **s == ',' || !**s; /* an empty one */
	*s = skip_blanks(*s);
	if (**s == '=') {
		*s = skip_blanks(*s + 1);
		if (**s == '"' ? !take_quoted(s, &value)
			       : !take_token(s, &value))
			return false;
		*s = skip_blanks(*s);
	}
	if (strcasecmp(strbuf_str(&name), "rel") == 0 && !*seen_rel) {
		*seen_rel = true;
		*next = has_relation_next(strbuf_str(&value));
	}
	return true;
}

char *http_link_next(const char *s)
{
	for (;;) {
		const char *target, *end;
		bool seen_rel = false, next = false;

		while (is_blank(*s) || *s == ',')
			s++;
		if (*s != '<')
			return NULL;
		target = s + 1;
		end = strchr(target, '>');
		if (!end)
			return NULL;
		for (s = skip_blanks(end + 1); *s == ';';)
			if (!take_link_param(&s, &seen_rel, &next))
				return NULL;
		if (*s && *s != ',')
			return NULL;
		if (next)
			return xstrndup(target, (size_t)(end - target));
	}
}

char *http_warning_text(const char *s)
{
	cleanup_strbuf struct strbuf text = STRBUF_INIT;

	s = skip_blanks(s);
	if (strncmp(s, "299 ", 4) != 0)
		return NULL;
	s = skip_blanks(s + 4);
	while (*s && !is_blank(*s)) /* the agent, mostly "-" */
		s++;
	s = skip_blanks(s);
	if (*s != '"' || !take_quoted(&s, &text))
		return NULL;
	return text.len ? strbuf_steal(&text) : NULL;
}
