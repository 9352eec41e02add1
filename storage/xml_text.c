#include "storage/xml_text.h"

#include <string.h>

#include "base/alloc.h"

static struct xml_span from(struct xml_span in, const char *p)
{
	return (struct xml_span){p, in.n - (size_t)(p - in.p)};
}

/* Past "<name>" or "<name attributes>"; NULL when there is none. Each byte is
 * looked at once: documents come from stores that may mean harm. */
static const char *after_open(struct xml_span in, const char *name)
{
	size_t n = strlen(name);
	const char *p;

	while ((p = memchr(in.p, '<', in.n))) {
		struct xml_span rest = from(in, p + 1);
		const char *end;

		in = rest;
		if (rest.n <= n || memcmp(rest.p, name, n) != 0 ||
		    (rest.p[n] != '>' && rest.p[n] != ' '))
			continue;
		end = memchr(rest.p, '>', rest.n);
		if (!end)
			return NULL;
		if (end[-1] != '/')
			return end + 1;
		in = from(rest, end + 1);
	}
	return NULL;
}

static const char *at_close(struct xml_span in, const char *name)
{
	size_t n = strlen(name);
	const char *p;

	while ((p = memchr(in.p, '<', in.n))) {
		struct xml_span rest = from(in, p);

		if (rest.n >= n + 3 && rest.p[1] == '/' &&
		    memcmp(rest.p + 2, name, n) == 0 && rest.p[n + 2] == '>')
			return p;
		in = from(in, p + 1);
	}
	return NULL;
}

bool xml_find(struct xml_span in, const char *name, struct xml_span *ret,
	      struct xml_span *ret_rest)
{
	const char *begin = in.n ? after_open(in, name) : NULL;
	const char *end = begin ? at_close(from(in, begin), name) : NULL;

	if (!end)
		return false;
	*ret = (struct xml_span){begin, (size_t)(end - begin)};
	if (ret_rest)
		*ret_rest = from(in, end + strlen(name) + 3);
	return true;
}

/* One of the five, or the byte itself. */
static size_t decode_one(struct xml_span in, char *ret)
{
	static const struct {
		const char *name;
		char c;
	} entities[] = {
		{"&amp;", '&'},  {"&lt;", '<'},    {"&gt;", '>'},
		{"&quot;", '"'}, {"&apos;", '\''}, {"&#34;", '"'},
	};

	for (size_t i = 0; i < ARRAY_SIZE(entities); i++) {
		size_t n = strlen(entities[i].name);

		if (in.n >= n && memcmp(in.p, entities[i].name, n) == 0) {
			*ret = entities[i].c;
			return n;
		}
	}
	*ret = *in.p;
	return 1;
}

bool xml_text(struct xml_span in, const char *name, char *ret, size_t cap)
{
	struct xml_span text;
	size_t out = 0;

	if (!xml_find(in, name, &text, NULL) || memchr(text.p, '\0', text.n) ||
	    memchr(text.p, '<', text.n))
		return false;
	while (text.n && out + 1 < cap) {
		size_t used = decode_one(text, &ret[out++]);

		text = from(text, text.p + used);
	}
	ret[out] = '\0';
	return true;
}
