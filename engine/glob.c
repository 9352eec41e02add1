/*
 * A pattern becomes segments, one per path component, of tokens. Both levels
 * match the same way: walk on, and on a mismatch go back to the last wildcard
 * of that level (a star, or a "**" segment) and let it take one more. Earlier
 * wildcards need no second look: what they took was the shortest that works.
 */
#include "engine/glob.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/path.h"

enum token_kind { TOKEN_CHAR, TOKEN_ANY, TOKEN_STAR, TOKEN_CLASS };

struct token {
	enum token_kind kind;
	bool negated;   /* TOKEN_CLASS */
	uint32_t c;     /* TOKEN_CHAR */
	uint32_t first; /* TOKEN_CLASS: of its ranges */
	uint32_t n;
};

struct range {
	uint32_t lo, hi;
};

struct segment {
	size_t first, n; /* tokens */
	bool any_depth;  /* "**" */
};

struct glob {
	bool bytes;   /* characters are bytes, not code points */
	bool nothing; /* malformed: matches nothing */
	struct token *tokens;
	struct range *ranges;
	struct segment *segments;
	size_t n_tokens, n_ranges, n_segments;
};

/* The next character of [@s, @end), which is not empty. */
static size_t next_char(bool bytes, const char *s, const char *end,
			uint32_t *ret)
{
	static const uint8_t lead_mask[] = {0, 0, 0x1f, 0x0f, 0x07};
	const uint8_t *p = (const uint8_t *)s;
	size_t len = 1;
	uint32_t c = *p;

	if (!bytes && c >= 0xc0)
		len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
	if (len == 1 || len > (size_t)(end - s)) {
		*ret = c;
		return 1;
	}
	c &= lead_mask[len];
	for (size_t i = 1; i < len; i++)
		c = c << 6 | (p[i] & 0x3f);
	*ret = c;
	return len;
}

/*
 * Compiling.
 */

struct compiler {
	struct glob *g;
	const char *p, *end;
	bool escapes; /* a backslash takes the next character as it is */
	size_t cap_tokens, cap_ranges, cap_segments;
};

static struct token *add_token(struct compiler *c, enum token_kind kind)
{
	struct glob *g = c->g;

	ARRAY_GROW(g->tokens, g->n_tokens, c->cap_tokens);
	g->tokens[g->n_tokens] = (struct token){.kind = kind};
	return &g->tokens[g->n_tokens++];
}

static void add_range(struct compiler *c, uint32_t lo, uint32_t hi)
{
	struct glob *g = c->g;

	ARRAY_GROW(g->ranges, g->n_ranges, c->cap_ranges);
	g->ranges[g->n_ranges++] = (struct range){lo, hi};
}

static void begin_segment(struct compiler *c)
{
	struct glob *g = c->g;

	ARRAY_GROW(g->segments, g->n_segments, c->cap_segments);
	g->segments[g->n_segments++] = (struct segment){.first = g->n_tokens};
}

static void end_segment(struct compiler *c)
{
	struct segment *seg = &c->g->segments[c->g->n_segments - 1];

	seg->n = c->g->n_tokens - seg->first;
}

static const struct {
	const char *name;
	int (*is)(int c);
} posix_classes[] = {
	{"alnum", isalnum}, {"alpha", isalpha}, {"blank", isblank},
	{"cntrl", iscntrl}, {"digit", isdigit}, {"graph", isgraph},
	{"lower", islower}, {"print", isprint}, {"punct", ispunct},
	{"space", isspace}, {"upper", isupper}, {"xdigit", isxdigit},
};

static bool add_posix_class(struct compiler *c, const char *name, size_t n)
{
	for (size_t i = 0; i < ARRAY_SIZE(posix_classes); i++) {
		if (strlen(posix_classes[i].name) != n ||
		    memcmp(posix_classes[i].name, name, n) != 0)
			continue;
		/* ASCII alone: the same in any locale. */
		for (int ch = 0; ch < 128; ch++)
			if (posix_classes[i].is(ch))
				add_range(c, (uint32_t)ch, (uint32_t)ch);
		return true;
	}
	return false;
}

/*
 * "[:name:]" at the cursor, which is behind its '['. Returns 1 taken, 0 it is
 * an ordinary '[', -1 unknown or without an end.
 */
static int take_posix_class(struct compiler *c)
{
	const char *name = c->p + 1, *close;

	if (c->p == c->end || *c->p != ':')
		return 0;
	close = memchr(name, ']', (size_t)(c->end - name));
	if (!close)
		return -1;
	if (close == name || close[-1] != ':')
		return 0;
	if (!add_posix_class(c, name, (size_t)(close - 1 - name)))
		return -1;
	c->p = close + 1;
	return 1;
}

/* A member of a class, its escape undone; false at the end. */
static bool take_member(struct compiler *c, uint32_t *ret)
{
	if (c->escapes && c->p < c->end && *c->p == '\\')
		c->p++;
	if (c->p == c->end)
		return false;
	c->p += next_char(c->g->bytes, c->p, c->end, ret);
	return true;
}

static bool at_range(const struct compiler *c)
{
	return c->end - c->p >= 2 && c->p[0] == '-' && c->p[1] != ']';
}

static const char *take_range_or_char(struct compiler *c)
{
	uint32_t lo, hi;

	if (!take_member(c, &lo))
		return "'[' without ']'";
	hi = lo;
	if (at_range(c)) {
		c->p++;
		if (!take_member(c, &hi))
			return "'[' without ']'";
		if (lo > hi && !c->escapes)
			return "a range in '[]' that ends before it begins";
		if (lo > hi) /* git takes the first of the two alone */
			hi = lo;
	}
	if (!c->escapes && (lo == '/' || hi == '/'))
		return "a '/' inside '[]'";
	add_range(c, lo, hi);
	return NULL;
}

/* The cursor is behind the opening bracket. */
static const char *take_class(struct compiler *c)
{
	size_t first = c->g->n_ranges;
	bool negated = false, any = false;
	struct token *t;

	if (c->p < c->end && (*c->p == '!' || *c->p == '^')) {
		negated = true;
		c->p++;
	}
	for (;; any = true) {
		const char *flaw;
		int taken = 0;

		if (c->p == c->end)
			return "'[' without ']'";
		if (*c->p == ']' && any)
			break;
		if (*c->p == '[') {
			c->p++;
			taken = take_posix_class(c);
			if (taken < 0)
				return "an unknown '[:class:]'";
			if (!taken)
				c->p--;
		}
		flaw = taken ? NULL : take_range_or_char(c);
		if (flaw)
			return flaw;
	}
	c->p++;
	t = add_token(c, TOKEN_CLASS);
	t->negated = negated;
	t->first = (uint32_t)first;
	t->n = (uint32_t)(c->g->n_ranges - first);
	return NULL;
}

static bool at_component_end(const struct compiler *c)
{
	return c->p == c->end || *c->p == '/' ||
	       (c->escapes && c->end - c->p >= 2 && c->p[0] == '\\' &&
		c->p[1] == '/');
}

/* A run of stars is one. Alone between slashes, two or more are any depth. */
static void take_stars(struct compiler *c)
{
	struct segment *seg = &c->g->segments[c->g->n_segments - 1];
	const char *from = c->p;

	while (c->p < c->end && *c->p == '*')
		c->p++;
	if (c->p - from >= 2 && seg->first == c->g->n_tokens &&
	    at_component_end(c))
		seg->any_depth = true;
	else
		add_token(c, TOKEN_STAR);
}

static const char *take_char(struct compiler *c)
{
	uint32_t ch;

	if (*c->p == '\\') {
		if (!c->escapes)
			return "a backslash ('[*]' matches a star)";
		if (++c->p == c->end)
			return "a backslash at the end";
	}
	if (*c->p == '/') {
		c->p++;
		end_segment(c);
		begin_segment(c);
		return NULL;
	}
	c->p += next_char(c->g->bytes, c->p, c->end, &ch);
	add_token(c, TOKEN_CHAR)->c = ch;
	return NULL;
}

static const char *compile(struct compiler *c)
{
	const char *flaw = NULL;

	/* Arrays, so that also an empty segment points into one. */
	ARRAY_GROW(c->g->tokens, c->g->n_tokens, c->cap_tokens);
	ARRAY_GROW(c->g->ranges, c->g->n_ranges, c->cap_ranges);
	begin_segment(c);
	while (!flaw && c->p < c->end) {
		if (*c->p == '*') {
			take_stars(c);
		} else if (*c->p == '?') {
			c->p++;
			add_token(c, TOKEN_ANY);
		} else if (*c->p == '[') {
			c->p++;
			flaw = take_class(c);
		} else {
			flaw = take_char(c);
		}
	}
	end_segment(c);
	return flaw;
}

/* What keeps a bundle's glob from ever matching a path. */
static const char *shape_flaw(const char *pattern)
{
	if (!*pattern)
		return "it is empty";
	if (*pattern == '/')
		return "it begins with '/': globs are relative to the bundle's "
		       "folder";
	for (const char *p = pattern;;) {
		const char *slash = strchr(p, '/');
		size_t n = slash ? (size_t)(slash - p) : strlen(p);

		if (!n && !slash)
			return "it ends with '/': '/**' is everything below a "
			       "folder";
		if (!n)
			return "an empty component";
		if ((n == 1 && *p == '.') ||
		    (n == 2 && p[0] == '.' && p[1] == '.'))
			return "a component '.' or '..'";
		if (!slash)
			return NULL;
		p = slash + 1;
	}
}

int glob_compile(const char *pattern, struct glob **ret, struct error **errp)
{
	cleanup_glob struct glob *g = xcalloc(1, sizeof(*g));
	cleanup_free char *nfc = NULL;
	struct compiler c = {.g = g};
	const char *flaw = shape_flaw(pattern);
	size_t n = strlen(pattern);
	int r;

	if (!flaw && n > GLOB_MAX)
		flaw = "it is longer than 4,096 bytes";
	if (!flaw) {
		r = path_to_nfc(pattern, n, &nfc, errp);
		if (r < 0)
			return error_prefix(errp, r, "glob '%s'", pattern);
		c.p = nfc;
		c.end = nfc + strlen(nfc);
		flaw = compile(&c);
	}
	if (flaw)
		return error_set(errp, EINVAL, "glob '%s': %s", pattern, flaw);
	*ret = steal_ptr(&g);
	return 0;
}

struct glob *glob_compile_ignore(const char *pattern, size_t n)
{
	struct glob *g = xcalloc(1, sizeof(*g));
	struct compiler c = {
		.g = g, .p = pattern, .end = pattern + n, .escapes = true};

	g->bytes = true;
	g->nothing = compile(&c) != NULL;
	return g;
}

void glob_free(struct glob *g)
{
	free(g->tokens);
	free(g->ranges);
	free(g->segments);
	free(g);
}

/*
 * Matching.
 */

static bool in_class(const struct glob *g, const struct token *t, uint32_t c)
{
	const struct range *r = g->ranges + t->first;

	for (uint32_t i = 0; i < t->n; i++)
		if (c >= r[i].lo && c <= r[i].hi)
			return !t->negated;
	return t->negated;
}

static bool token_takes(const struct glob *g, const struct token *t, uint32_t c)
{
	switch (t->kind) {
	case TOKEN_CHAR:
		return t->c == c;
	case TOKEN_ANY:
		return true;
	case TOKEN_CLASS:
		return in_class(g, t, c);
	case TOKEN_STAR:
		break;
	}
	return false;
}

static bool segment_match(const struct glob *g, const struct segment *seg,
			  const char *s, const char *end)
{
	const struct token *t = g->tokens + seg->first;
	const struct token *t_end = t + seg->n, *star = NULL;
	const char *star_s = NULL;
	uint32_t c;

	while (s < end) {
		size_t len = next_char(g->bytes, s, end, &c);

		if (t < t_end && t->kind == TOKEN_STAR) {
			star = t++;
			star_s = s;
		} else if (t < t_end && token_takes(g, t, c)) {
			t++;
			s += len;
		} else if (star) {
			star_s += next_char(g->bytes, star_s, end, &c);
			s = star_s;
			t = star + 1;
		} else {
			return false;
		}
	}
	while (t < t_end && t->kind == TOKEN_STAR)
		t++;
	return t == t_end;
}

static const char *component_end(const char *s, const char *end)
{
	const char *slash = memchr(s, '/', (size_t)(end - s));

	return slash ? slash : end;
}

/* Behind the component at @s; NULL: it was the last. */
static const char *next_component(const char *s, const char *end)
{
	const char *to = component_end(s, end);

	return to < end ? to + 1 : NULL;
}

bool glob_match(const struct glob *g, const char *path, size_t n)
{
	const char *end = path + n, *s = path, *deep_s = NULL;
	const struct segment *seg = g->segments;
	const struct segment *seg_end = seg + g->n_segments, *deep = NULL;

	if (g->nothing)
		return false;
	while (s) {
		if (seg < seg_end && seg->any_depth) {
			if (seg + 1 == seg_end)
				return true;
			deep = seg++;
			deep_s = s;
		} else if (seg < seg_end &&
			   segment_match(g, seg, s, component_end(s, end))) {
			seg++;
			s = next_component(s, end);
		} else if (deep) {
			deep_s = next_component(deep_s, end);
			s = deep_s;
			seg = deep + 1;
		} else {
			return false;
		}
	}
	return seg == seg_end;
}
