#include "storage/token.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/secret.h"
#include "base/strbuf.h"
#include "storage/http_address.h"

#define CLIENT_ID       "mops"
#define LIFE_DEFAULT_S  60
#define LIFE_MAX_S      (366 * 86400)
#define ANSWER_VALUES   1000
#define ACTIONS_AT_MOST 32

/*
 * Scopes.
 */

/* RFC 6749 section 3.3: visible, neither quote nor backslash. */
static bool is_scope_char(char c)
{
	return c > ' ' && c < 0x7f && c != '"' && c != '\\';
}

/* Length of what stands before the actions. */
static size_t resource_len(const char *scope)
{
	const char *colon = strrchr(scope, ':');

	return colon ? (size_t)(colon - scope) : strlen(scope);
}

static char **find_resource(char **list, const char *scope)
{
	size_t n = resource_len(scope);

	for (; list && *list; list++)
		if (resource_len(*list) == n && strncmp(*list, scope, n) == 0)
			return list;
	return NULL;
}

static void take_actions(const char *scope, char ***list)
{
	const char *p = scope + resource_len(scope);

	while (*p) {
		size_t n = strcspn(++p, ",");

		if (n && strv_len(*list) < ACTIONS_AT_MOST)
			strv_append(list, xstrndup(p, n));
		p += n;
	}
}

/* The resource of @a with the actions of both. */
static char *unite(const char *a, const char *b)
{
	struct strbuf sb = STRBUF_INIT;
	cleanup_strv char **all = NULL;
	const char *last = NULL;

	take_actions(a, &all);
	if (b)
		take_actions(b, &all);
	strv_sort(all);
	strbuf_add(&sb, a, resource_len(a));
	for (char **s = all; s && *s; s++) {
		if (last && strcmp(last, *s) == 0)
			continue;
		strbuf_addf(&sb, "%c%s", last ? ',' : ':', *s);
		last = *s;
	}
	if (!last && a[resource_len(a)])
		strbuf_addc(&sb, ':');
	return strbuf_steal(&sb);
}

static int add_one(char ***list, const char *p, size_t n)
{
	cleanup_free char *scope = xstrndup(p, n);
	char **there = find_resource(*list, scope);
	char *united;

	for (size_t i = 0; i < n; i++)
		if (!is_scope_char(p[i]))
			return -EINVAL;
	if (!resource_len(scope))
		return -EINVAL;
	if (!there && strv_len(*list) == SCOPES_MAX)
		return -EFBIG;
	united = unite(scope, there ? *there : NULL);
	if (strlen(united) > SCOPE_MAX) {
		free(united);
		return -EFBIG;
	}
	if (there) {
		free(*there);
		*there = united;
	} else {
		strv_append(list, united);
	}
	return 0;
}

int scopes_add(char ***list, const char *scopes)
{
	int r = 0;

	for (const char *p = scopes; *p && r == 0;) {
		size_t n = strcspn(p, " ");

		if (n > SCOPE_MAX)
			return -EFBIG;
		if (n)
			r = add_one(list, p, n);
		p += n;
		p += strspn(p, " ");
	}
	return r;
}

/*
 * The answer.
 */

/* Fit to stand after "Bearer " in a header field. */
static bool is_token(const char *s)
{
	size_t n = s ? strlen(s) : 0;

	if (!n || n > TOKEN_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if (s[i] <= ' ' || s[i] >= 0x7f)
			return false;
	return true;
}

static int64_t life_ms(const struct json *v)
{
	int64_t s;

	if (json_int(v, &s) < 0)
		s = LIFE_DEFAULT_S;
	/* What is over already is good for the one request that needs it. */
	return s > 0 ? MIN(s, (int64_t)LIFE_MAX_S) * 1000 : 1;
}

static int take_answer(const struct json *doc, struct token_answer *ret,
		       struct error **errp)
{
	const char *token = json_str(json_get(doc, "token"));
	const char *refresh = json_str(json_get(doc, "refresh_token"));

	if (!token || !*token)
		token = json_str(json_get(doc, "access_token"));
	if (!is_token(token))
		return error_set(errp, EINVAL, "it holds no usable token");
	ret->token = xstrdup(token);
	ret->refresh_token = is_token(refresh) ? xstrdup(refresh) : NULL;
	ret->life_ms = life_ms(json_get(doc, "expires_in"));
	return 0;
}

int token_answer_parse(const char *buf, size_t n, struct token_answer *ret,
		       struct error **errp)
{
	static const struct json_limits limits = {TOKEN_BODY_MAX,
						  ANSWER_VALUES};
	cleanup_json struct json *doc = NULL;
	int r;

	if (json_parse(buf, n, &limits, &doc, NULL) < 0)
		return error_set(errp, EINVAL, "it is no JSON document");
	r = take_answer(doc, ret, errp);
	json_wipe(doc);
	return r;
}

void token_answer_release(struct token_answer *a)
{
	wipe_str(&a->token);
	wipe_str(&a->refresh_token);
}

/*
 * The request.
 */

static void add_field(struct strbuf *sb, const char *name, const char *value)
{
	strbuf_addf(sb, "%s%s=", sb->len ? "&" : "", name);
	uri_encode(sb, value, strlen(value), false);
}

void token_request_query(const struct token_request *rq, struct http_url *url)
{
	struct strbuf sb = STRBUF_INIT;

	if (url->query)
		strbuf_adds(&sb, url->query);
	if (rq->service)
		add_field(&sb, "service", rq->service);
	for (char *const *s = rq->scopes; s && *s; s++)
		add_field(&sb, "scope", *s);
	if (rq->user)
		add_field(&sb, "account", rq->user);
	free(url->query);
	url->query = sb.len ? strbuf_steal(&sb) : NULL;
}

/* Room for all, so that no copy of a secret is left behind by growing. */
static size_t form_bound(const struct token_request *rq)
{
	size_t n = 256;

	n += rq->service ? 3 * strlen(rq->service) : 0;
	n += rq->user ? 3 * strlen(rq->user) : 0;
	n += rq->secret ? 3 * strlen(rq->secret) : 0;
	n += rq->refresh_token ? 3 * strlen(rq->refresh_token) : 0;
	for (char *const *s = rq->scopes; s && *s; s++)
		n += 3 * strlen(*s) + 3;
	return n;
}

char *token_request_form(const struct token_request *rq, size_t *ret_len)
{
	cleanup_strbuf struct strbuf scope = STRBUF_INIT;
	struct strbuf sb = {.cap = form_bound(rq)};

	sb.buf = xmalloc(sb.cap);
	add_field(&sb, "grant_type",
		  rq->refresh_token ? "refresh_token" : "password");
	add_field(&sb, "client_id", CLIENT_ID);
	if (rq->service)
		add_field(&sb, "service", rq->service);
	for (char *const *s = rq->scopes; s && *s; s++)
		strbuf_addf(&scope, "%s%s", scope.len ? " " : "", *s);
	if (scope.len)
		add_field(&sb, "scope", strbuf_str(&scope));
	if (rq->refresh_token) {
		add_field(&sb, "refresh_token", rq->refresh_token);
	} else {
		add_field(&sb, "username", rq->user ? rq->user : "");
		add_field(&sb, "password", rq->secret ? rq->secret : "");
	}
	*ret_len = sb.len;
	return strbuf_steal(&sb);
}

/*
 * The service.
 */

/* Where a name's last @n labels begin; NULL: it has no more than these. */
static const char *last_labels(const char *host, unsigned n)
{
	const char *p = host + strlen(host);

	while (p > host && n) {
		p--;
		if (*p == '.' && --n == 0)
			return p + 1;
	}
	return NULL;
}

/* The part of a name that one owner has, as far as its form tells: two labels,
 * or three below a country's short second level ("example.co.uk"). */
static const char *site_of(const char *host)
{
	const char *two = last_labels(host, 2);
	const char *top = last_labels(host, 1);

	if (!two)
		two = host;
	if (!top || strlen(top) != 2 || top - two > 4)
		return two;
	return last_labels(host, 3) ? last_labels(host, 3) : host;
}

bool hosts_same_site(const char *a, const char *b)
{
	enum address_class class;

	if (address_class_literal(a, &class) ||
	    address_class_literal(b, &class) || !strchr(a, '.') ||
	    !strchr(b, '.'))
		return false;
	return strcasecmp(site_of(a), site_of(b)) == 0;
}
