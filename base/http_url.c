#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/secret.h"
#include "base/strbuf.h"
#include "base/uri.h"

#define HTTP_URL_MAX (16u << 10)
#define HOST_MAX     253

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9');
}

static bool is_one_of(char c, const char *set)
{
	return c && strchr(set, c);
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* The next of @stops in @s, or its end. */
static size_t span_to(const char *s, size_t n, const char *stops)
{
	size_t i = 0;

	while (i < n && !strchr(stops, s[i]))
		i++;
	return i;
}

static int take_ipv6(const char *s, size_t n, char **ret)
{
	cleanup_free char *text = xstrndup(s, n);
	char canonical[INET6_ADDRSTRLEN];
	struct in6_addr addr;

	if (inet_pton(AF_INET6, text, &addr) != 1 ||
	    !inet_ntop(AF_INET6, &addr, canonical, sizeof(canonical)))
		return -EINVAL;
	*ret = xstrdup(canonical);
	return 0;
}

static int take_name(const char *s, size_t n, char **ret)
{
	if (!n || n > HOST_MAX || s[0] == '.')
		return -EINVAL;
	for (size_t i = 0; i < n; i++)
		if ((!is_alnum(s[i]) && !is_one_of(s[i], "-._")) ||
		    (i && s[i] == '.' && s[i - 1] == '.'))
			return -EINVAL; /* a label of nothing, too */
	*ret = xstrndup(s, n);
	for (char *p = *ret; *p; p++)
		*p = lower(*p);
	return 0;
}

/* The digits after the colon; none means the scheme's own port. */
static int take_port(const char *s, size_t n, uint16_t *ret)
{
	unsigned port = 0;

	if (!n)
		return 0;
	if (n > 5)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -EINVAL;
		port = port * 10 + (unsigned)(s[i] - '0');
	}
	if (!port || port > UINT16_MAX)
		return -EINVAL;
	*ret = (uint16_t)port;
	return 0;
}

static int take_authority(const char *s, size_t n, struct http_url *u,
			  struct error **errp)
{
	size_t host = span_to(s, n, ":"), after;
	int r;

	if (memchr(s, '@', n))
		return error_set(errp, EINVAL, "user info in a URL");
	if (n && s[0] == '[') {
		host = span_to(s, n, "]");
		r = host == n ? -EINVAL : take_ipv6(s + 1, host - 1, &u->host);
		after = host == n ? n : host + 1;
	} else {
		r = take_name(s, host, &u->host);
		after = host;
	}
	if (r < 0)
		return error_set(errp, EINVAL, "a URL's host is malformed");
	u->port = u->tls ? 443 : 80;
	if (after == n)
		return 0;
	if (s[after] != ':' ||
	    take_port(s + after + 1, n - after - 1, &u->port))
		return error_set(errp, EINVAL, "a URL's port is malformed");
	return 0;
}

/* A path or a query as it may travel: RFC 3986 leaves some bytes out. */
static char *encode_rest(const char *s, size_t n)
{
	struct strbuf sb = STRBUF_INIT;

	for (size_t i = 0; i < n; i++) {
		if (is_alnum(s[i]) || is_one_of(s[i], "-._~!$&'()*+,;=:@/?%[]"))
			strbuf_addc(&sb, s[i]);
		else
			strbuf_addf(&sb, "%%%02X", (unsigned char)s[i]);
	}
	return strbuf_steal(&sb);
}

/* Path, query and fragment. */
static void take_rest(const char *s, struct http_url *u)
{
	size_t path = strcspn(s, "?#");

	u->path = path ? encode_rest(s, path) : xstrdup("/");
	if (s[path] == '?')
		u->query =
			encode_rest(s + path + 1, strcspn(s + path + 1, "#"));
}

/* Moves *@s past "http://" or "https://". */
static bool take_scheme(const char **s, bool *ret_tls)
{
	*ret_tls = !strncasecmp(*s, "https://", 8);
	if (!*ret_tls && strncasecmp(*s, "http://", 7) != 0)
		return false;
	*s += *ret_tls ? 8 : 7;
	return true;
}

static int check_bytes(const char *s, struct error **errp)
{
	size_t n = strnlen(s, HTTP_URL_MAX + 1);

	if (n > HTTP_URL_MAX)
		return error_set(errp, EINVAL, "a URL of more than 16 KiB");
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] <= 0x20 || s[i] == 0x7f)
			return error_set(errp, EINVAL,
					 "a space or control byte in a URL");
	return 0;
}

int http_url_parse(const char *s, struct http_url *ret, struct error **errp)
{
	cleanup_http_url struct http_url u = {0};
	size_t authority;
	int r = check_bytes(s, errp);

	if (r < 0)
		return r;
	if (!take_scheme(&s, &u.tls))
		return error_set(errp, EINVAL, "neither http:// nor https://");
	authority = strcspn(s, "/?#");
	r = take_authority(s, authority, &u, errp);
	if (r < 0)
		return r;
	take_rest(s + authority, &u);
	*ret = u;
	u = (struct http_url){0};
	return 0;
}

/* RFC 3986 section 5.2.4, on a path that begins with '/'. */
static char *remove_dot_segments(const char *path)
{
	struct strbuf out = STRBUF_INIT;

	for (const char *s = path; *s;) {
		size_t n = 1 + strcspn(s + 1, "/");
		bool dot = n == 2 && s[1] == '.';
		bool dots = n == 3 && s[1] == '.' && s[2] == '.';

		if (dots) {
			const char *last = out.len ? strrchr(out.buf, '/') : 0;

			strbuf_truncate(&out,
					last ? (size_t)(last - out.buf) : 0);
		}
		if (!dot && !dots)
			strbuf_add(&out, s, n);
		else if (!s[n])
			strbuf_addc(&out, '/');
		s += n;
	}
	return strbuf_steal(&out);
}

/* The path @ref of a relative reference, seen from @base. */
static char *merge_path(const struct http_url *base, const char *ref, size_t n)
{
	cleanup_strbuf struct strbuf sb = STRBUF_INIT;

	if (*ref != '/')
		strbuf_add(&sb, base->path,
			   (size_t)(strrchr(base->path, '/') - base->path) + 1);
	strbuf_add(&sb, ref, n);
	return remove_dot_segments(strbuf_str(&sb));
}

static bool has_scheme(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz"
			     "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");

	return n && s[n] == ':';
}

static void copy_origin(const struct http_url *from, struct http_url *to)
{
	to->tls = from->tls;
	to->port = from->port;
	to->host = xstrdup(from->host);
}

/* @ref begins with a path, a query or a fragment, or is empty. */
static void resolve_relative(const struct http_url *base, const char *ref,
			     struct http_url *u)
{
	struct http_url given = {0};
	size_t path = strcspn(ref, "?#");

	copy_origin(base, u);
	take_rest(ref, &given);
	u->query = steal_ptr(&given.query);
	if (path) {
		u->path = merge_path(base, given.path, strlen(given.path));
	} else {
		u->path = xstrdup(base->path);
		if (ref[0] != '?' && base->query)
			u->query = xstrdup(base->query);
	}
	http_url_release(&given);
}

int http_url_resolve(const struct http_url *base, const char *ref,
		     struct http_url *ret, struct error **errp)
{
	cleanup_free char *absolute = NULL;
	int r = check_bytes(ref, errp);

	if (r < 0)
		return r;
	if (ref[0] == '/' && ref[1] == '/')
		absolute =
			xasprintf("%s:%s", base->tls ? "https" : "http", ref);
	else if (has_scheme(ref))
		absolute = xstrdup(ref);
	if (absolute) {
		struct http_url u = {0};
		char *path;

		r = http_url_parse(absolute, &u, errp);
		if (r < 0)
			return r;
		assert(u.path);
		path = remove_dot_segments(u.path);
		free(u.path);
		u.path = path;
		*ret = u;
		return 0;
	}
	*ret = (struct http_url){0};
	resolve_relative(base, ref, ret);
	return 0;
}

static void add_origin_and_path(struct strbuf *out, const struct http_url *u)
{
	bool v6 = strchr(u->host, ':') != NULL;

	strbuf_addf(out, "%s://%s%s%s", u->tls ? "https" : "http",
		    v6 ? "[" : "", u->host, v6 ? "]" : "");
	if (u->port != (u->tls ? 443 : 80))
		strbuf_addf(out, ":%u", u->port);
	strbuf_adds(out, u->path);
}

char *http_url_str(const struct http_url *u)
{
	struct strbuf sb = STRBUF_INIT;

	add_origin_and_path(&sb, u);
	if (u->query)
		strbuf_addf(&sb, "?%s", u->query);
	return strbuf_steal(&sb);
}

char *http_url_redacted(const struct http_url *u)
{
	struct strbuf sb = STRBUF_INIT;

	add_origin_and_path(&sb, u);
	if (u->query)
		strbuf_adds(&sb, "?<redacted>");
	return strbuf_steal(&sb);
}

char *uri_without_secrets(const char *s)
{
	const char *at = strrchr(s, '@');
	const char *shown = at ? at : s;
	size_t n = strcspn(shown, "?");

	return xasprintf("%s%.*s%s", at ? "…" : "", (int)n, shown,
			 shown[n] ? "?…" : "");
}

bool http_url_same_origin(const struct http_url *a, const struct http_url *b)
{
	return a->tls == b->tls && a->port == b->port &&
	       !strcmp(a->host, b->host);
}

void http_url_copy(const struct http_url *from, struct http_url *to)
{
	*to = (struct http_url){
		.tls = from->tls,
		.host = xstrdup(from->host),
		.port = from->port,
		.path = xstrdup(from->path),
		.query = from->query ? xstrdup(from->query) : NULL,
	};
}

void http_url_release(struct http_url *u)
{
	free(u->host);
	free(u->path);
	wipe_str(&u->query); /* of a signed URL it is a secret */
	*u = (struct http_url){0};
}
