#include "storage/ini.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/secret.h"

/* A section's own line has no key. */
struct ini_line {
	char *section;
	char *key;
	char *sub;
	char *value;
};

struct ini {
	struct ini_line *v;
	size_t n, cap;
};

void ini_free(struct ini *ini)
{
	if (!ini)
		return;
	for (size_t i = 0; i < ini->n; i++) {
		free(ini->v[i].section);
		free(ini->v[i].key);
		free(ini->v[i].sub);
		wipe_str(&ini->v[i].value);
	}
	free(ini->v);
	free(ini);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* A copy of [p, end) without the blanks around it. */
static char *trimmed(const char *p, const char *end)
{
	while (p < end && is_blank(*p))
		p++;
	while (p < end && is_blank(end[-1]))
		end--;
	return xstrndup(p, (size_t)(end - p));
}

static struct ini_line *add(struct ini *ini, const char *section)
{
	ARRAY_GROW(ini->v, ini->n, ini->cap);
	ini->v[ini->n] = (struct ini_line){.section = xstrdup(section)};
	return &ini->v[ini->n++];
}

/* "[ section ]": inner runs of blanks are one space. */
static char *section_name(const char *p, const char *end)
{
	const char *close = memchr(p, ']', (size_t)(end - p));
	char *name, *out;

	if (!close)
		return NULL;
	name = trimmed(p + 1, close);
	out = name;
	for (char *in = name; *in; in++) {
		if (is_blank(*in) && is_blank(in[1]))
			continue;
		*out++ = (char)(is_blank(*in) ? ' ' : *in);
	}
	*out = '\0';
	return name;
}

struct parser {
	struct ini *ini;
	char *section; /* NULL: before the first */
	char *parent;  /* a key whose value is on indented lines */
};

static void take_pair(struct parser *ps, const char *p, const char *end)
{
	const char *eq = memchr(p, '=', (size_t)(end - p));
	bool indented = is_blank(*p);
	struct ini_line *line;
	char *key;

	if (!eq || !ps->section || (indented && !ps->parent))
		return;
	key = trimmed(p, eq);
	line = add(ps->ini, ps->section);
	line->value = trimmed(eq + 1, end);
	if (indented) {
		line->key = xstrdup(ps->parent);
		line->sub = key;
		return;
	}
	line->key = key;
	free(ps->parent);
	ps->parent = *line->value ? NULL : xstrdup(key);
}

static void take_line(struct parser *ps, const char *p, const char *end)
{
	const char *text = p;
	char *name;

	while (text < end && is_blank(*text))
		text++;
	if (text == end || *text == '#' || *text == ';')
		return;
	if (*p != '[') {
		take_pair(ps, p, end);
		return;
	}
	name = section_name(p, end);
	if (!name)
		return;
	free(ps->section);
	ps->section = name;
	freep(&ps->parent);
	add(ps->ini, name);
}

int ini_parse(const char *p, size_t n, struct ini **ret, struct error **errp)
{
	cleanup_ini struct ini *ini = xcalloc(1, sizeof(*ini));
	struct parser ps = {.ini = ini};
	const char *end = p + n;
	size_t lines = 0;

	if (n && memchr(p, '\0', n))
		return error_set(errp, EINVAL, "a NUL byte");
	while (p < end && lines++ < INI_LINES_MAX) {
		const char *eol = memchr(p, '\n', (size_t)(end - p));

		take_line(&ps, p, eol ? eol : end);
		p = eol ? eol + 1 : end;
	}
	free(ps.section);
	free(ps.parent);
	if (p < end)
		return error_set(errp, EINVAL, "more than %d lines",
				 INI_LINES_MAX);
	*ret = steal_ptr(&ini);
	return 0;
}

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

const char *ini_get(const struct ini *ini, const char *section, const char *key,
		    const char *sub)
{
	for (size_t i = ini ? ini->n : 0; i > 0; i--) {
		const struct ini_line *l = &ini->v[i - 1];

		if (l->key && same(l->section, section) && same(l->key, key) &&
		    same(l->sub, sub))
			return l->value;
	}
	return NULL;
}

int ini_has(const struct ini *ini, const char *section)
{
	for (size_t i = 0; ini && i < ini->n; i++)
		if (same(ini->v[i].section, section))
			return 1;
	return 0;
}
