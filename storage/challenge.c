/*
 *   at        may follow                     leads to
 *   start     blanks, commas                 start
 *             token                          scheme
 *             end                            done
 *   scheme    comma or end                   start: nothing but a scheme
 *             blanks token68 (comma or end)  start
 *             blanks token "=" value         param
 *   param     comma token "="                param of the same challenge
 *             comma token, not "="           scheme of the next one
 *             comma or end                   start
 *
 * A word after a comma is a parameter exactly when "=" follows it.
 */
#include "storage/challenge.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strbuf.h"

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9');
}

static bool is_token_char(char c)
{
	return is_alnum(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token68_char(char c)
{
	return is_alnum(c) || (c && strchr("-._~+/", c));
}

static const char *skip_blanks(const char *p)
{
	while (*p == ' ' || *p == '\t')
		p++;
	return p;
}

static const char *skip_token(const char *p)
{
	while (is_token_char(*p))
		p++;
	return p;
}

static bool ends_here(const char *p)
{
	return *p == ',' || *p == '\0';
}

static char *lower_dup(const char *p, size_t n)
{
	char *s = xstrndup(p, n);

	for (char *c = s; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c += 'a' - 'A';
	return s;
}

/* NULL unless a whole token68 stands here and ends the challenge. */
static const char *token68_end(const char *p)
{
	const char *start = p;

	while (is_token68_char(*p))
		p++;
	if (p == start)
		return NULL;
	while (*p == '=')
		p++;
	return ends_here(skip_blanks(p)) ? p : NULL;
}

/* qdtext and quoted-pair allow blanks and all that is visible. */
static bool is_quotable(char c)
{
	return c == '\t' || ((unsigned char)c >= ' ' && c != 0x7f);
}

static int take_quoted(const char **pp, struct strbuf *out)
{
	const char *p = *pp + 1;

	for (; *p != '"'; p++) {
		if (*p == '\\')
			p++;
		if (!is_quotable(*p) || out->len >= CHALLENGE_VALUE_MAX)
			return -EINVAL; /* the end, too */
		strbuf_addc(out, *p);
	}
	*pp = p + 1;
	return 0;
}

static int take_value(const char **pp, char **ret)
{
	cleanup_strbuf struct strbuf value = STRBUF_INIT;
	const char *end;
	int r = 0;

	if (**pp == '"') {
		r = take_quoted(pp, &value);
	} else {
		end = skip_token(*pp);
		if (end == *pp || end - *pp > CHALLENGE_VALUE_MAX)
			return -EINVAL;
		strbuf_add(&value, *pp, (size_t)(end - *pp));
		*pp = end;
	}
	if (r == 0)
		*ret = value.len ? strbuf_steal(&value) : xstrdup("");
	return r;
}

const char *challenge_param(const struct challenge *c, const char *name)
{
	for (size_t i = 0; i < c->n_params; i++)
		if (strcmp(c->params[i].name, name) == 0)
			return c->params[i].value;
	return NULL;
}

static int take_param(const char **pp, struct challenge *c)
{
	const char *p = *pp;
	const char *end = skip_token(p);
	cleanup_free char *name = NULL;
	char *value = NULL;
	int r;

	if (end == p || end - p > CHALLENGE_VALUE_MAX ||
	    *skip_blanks(end) != '=' || c->n_params == CHALLENGE_PARAMS_MAX)
		return -EINVAL;
	name = lower_dup(p, (size_t)(end - p));
	if (challenge_param(c, name))
		return -EINVAL; /* which of them would be meant? */
	*pp = skip_blanks(skip_blanks(end) + 1);
	r = take_value(pp, &value);
	if (r < 0)
		return r;
	c->params[c->n_params++] =
		(struct challenge_param){steal_ptr(&name), value};
	*pp = skip_blanks(*pp);
	return ends_here(*pp) ? 0 : -EINVAL;
}

/* At a comma: is the next word one more parameter? Then *@pp is there. */
static bool at_next_param(const char **pp)
{
	const char *p = *pp, *end;

	while (*p == ',' || *p == ' ' || *p == '\t')
		p++;
	end = skip_token(p);
	if (end == p || *skip_blanks(end) != '=')
		return false;
	*pp = p;
	return true;
}

static int take_params(const char **pp, struct challenge *c)
{
	int r;

	do
		r = take_param(pp, c);
	while (r == 0 && at_next_param(pp));
	return r;
}

static int take_challenge(const char **pp, struct challenge *c)
{
	const char *p = *pp;
	const char *end = skip_token(p);

	if (end == p || end - p > CHALLENGE_VALUE_MAX)
		return -EINVAL;
	c->scheme = lower_dup(p, (size_t)(end - p));
	*pp = skip_blanks(end);
	if (ends_here(*pp))
		return 0;
	if (*pp == end)
		return -EINVAL; /* neither a blank nor an end */
	end = token68_end(*pp);
	if (!end)
		return take_params(pp, c);
	if (end - *pp > CHALLENGE_VALUE_MAX)
		return -EINVAL;
	c->token68 = xstrndup(*pp, (size_t)(end - *pp));
	*pp = skip_blanks(end);
	return 0;
}

static void challenge_release(struct challenge *c)
{
	for (size_t i = 0; i < c->n_params; i++) {
		free(c->params[i].name);
		free(c->params[i].value);
	}
	free(c->scheme);
	free(c->token68);
}

int challenges_parse(struct challenges *cs, const char *field)
{
	const char *p = field;

	for (;;) {
		struct challenge c = {0};

		while (*p == ',' || *p == ' ' || *p == '\t')
			p++;
		if (!*p)
			return 0;
		if (cs->n == CHALLENGES_MAX || take_challenge(&p, &c) < 0) {
			challenge_release(&c);
			return -EINVAL;
		}
		ARRAY_GROW(cs->v, cs->n, cs->cap);
		cs->v[cs->n++] = c;
	}
}

const struct challenge *challenges_find(const struct challenges *cs,
					const char *scheme)
{
	for (size_t i = 0; i < cs->n; i++)
		if (strcmp(cs->v[i].scheme, scheme) == 0)
			return &cs->v[i];
	return NULL;
}

void challenges_release(struct challenges *cs)
{
	for (size_t i = 0; i < cs->n; i++)
		challenge_release(&cs->v[i]);
	free(cs->v);
	*cs = (struct challenges){0};
}
