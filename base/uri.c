#include "base/uri.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/strbuf.h"

#define URI_MAX 4096

static const struct {
	const char *name;
	bool has_account, has_container;
} schemes[] = {
	[URI_S3] = {"s3", false, true},
	[URI_AZ] = {"az", true, true},
	[URI_GS] = {"gs", false, true},
	[URI_FILE] = {"file", false, false},
};

const char *uri_scheme_name(enum uri_scheme s)
{
	return schemes[s].name;
}

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9');
}

static bool is_one_of(char c, const char *set)
{
	return c && strchr(set, c);
}

static bool is_unreserved(char c)
{
	return is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

void uri_encode(struct strbuf *out, const char *s, size_t n, bool keep_slash)
{
	for (size_t i = 0; i < n; i++) {
		if (is_unreserved(s[i]) || (keep_slash && s[i] == '/'))
			strbuf_addc(out, s[i]);
		else
			strbuf_addf(out, "%%%02X", (unsigned char)s[i]);
	}
}

static int hex_value(char c)
{
	int lower = c | 0x20;

	if (c >= '0' && c <= '9')
		return c - '0';
	return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Undo %XX in @s; -EINVAL for a '%' that starts no escape. */
static int decode(struct strbuf *out, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int hi, lo;

		if (s[i] != '%') {
			strbuf_addc(out, s[i]);
			continue;
		}
		if (n - i < 3)
			return -EINVAL;
		hi = hex_value(s[i + 1]);
		lo = hex_value(s[i + 2]);
		if (hi < 0 || lo < 0)
			return -EINVAL;
		strbuf_addc(out, (char)(hi << 4 | lo));
		i += 2;
	}
	return 0;
}

static bool account_valid(const char *s)
{
	size_t n = strlen(s);

	return n >= 3 && n <= 24 &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789") == n;
}

static bool container_valid(const struct pointer_uri *u)
{
	const char *s = u->container;
	size_t n = strlen(s);

	if (u->scheme == URI_AZ && *s == '$')
		return !strcmp(s, "$root") || !strcmp(s, "$web") ||
		       !strcmp(s, "$logs");
	if (n < 3 || n > 255 || !is_alnum(s[0]) || !is_alnum(s[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_alnum(s[i]) && !is_one_of(s[i], "._-"))
			return false;
	return !strstr(s, "..");
}

/* Whether some "." or ".." (or, if asked, nothing) stands between slashes. */
static bool has_odd_segment(const char *s, bool empty_is_odd)
{
	for (;;) {
		size_t n = strcspn(s, "/");

		if (!n && empty_is_odd)
			return true;
		if ((n == 1 && s[0] == '.') ||
		    (n == 2 && s[0] == '.' && s[1] == '.'))
			return true;
		if (!s[n])
			return false;
		s += n + 1;
	}
}

/* @n: the key's decoded length, which a NUL in it would hide. */
static const char *pointer_flaw(const struct pointer_uri *u, size_t n)
{
	bool is_file = u->scheme == URI_FILE;

	if (u->account && !account_valid(u->account))
		return "not a storage account's name";
	if (u->container && !container_valid(u))
		return "not a bucket's or container's name";
	if (!n || (is_file && n == 1))
		return "no key";
	if (!utf8_valid(u->key, n))
		return "the key is not UTF-8";
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)u->key[i] < 0x20 || u->key[i] == 0x7f)
			return "a control character in the key";
	if (has_odd_segment(u->key + is_file, is_file))
		return "'.', '..' or nothing between two slashes";
	return NULL;
}

static void pointer_build(const struct pointer_uri *u, struct strbuf *out)
{
	assert(u->key);
	strbuf_addf(out, "%s://", uri_scheme_name(u->scheme));
	if (u->account) {
		strbuf_adds(out, u->account);
		strbuf_addc(out, '/');
	}
	if (u->container) {
		uri_encode(out, u->container, strlen(u->container), false);
		strbuf_addc(out, '/');
	}
	uri_encode(out, u->key, strlen(u->key), true);
}

/* Which scheme @s, of @n bytes, begins with; moves both past "://". */
static int take_scheme(const char **s, size_t *n, enum uri_scheme *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++) {
		size_t len = strlen(schemes[i].name);

		if (*n < len + 3 ||
		    strncasecmp(*s, schemes[i].name, len) != 0 ||
		    memcmp(*s + len, "://", 3) != 0)
			continue;
		*s += len + 3;
		*n -= len + 3;
		*ret = (enum uri_scheme)i;
		return 0;
	}
	return -EINVAL;
}

/* The decoded bytes up to the next slash, which is passed. */
static int take_part(const char **s, size_t *n, char **ret)
{
	cleanup_strbuf struct strbuf sb = STRBUF_INIT;
	const char *slash = memchr(*s, '/', *n);
	size_t len = slash ? (size_t)(slash - *s) : *n;

	if (!slash || decode(&sb, *s, len) < 0 ||
	    strlen(strbuf_str(&sb)) != sb.len)
		return -EINVAL;
	*ret = strbuf_steal(&sb);
	*s += len + 1;
	*n -= len + 1;
	return 0;
}

static int take_parts(const char *s, size_t n, struct pointer_uri *u,
		      struct error **errp)
{
	cleanup_strbuf struct strbuf key = STRBUF_INIT;
	const char *flaw;

	if (take_scheme(&s, &n, &u->scheme) < 0)
		return error_set(errp, EINVAL,
				 "none of s3://, az://, gs:// and file://");
	if (memchr(s, '?', n) || memchr(s, '#', n))
		return error_set(errp, EINVAL, "a query or a fragment");
	if (schemes[u->scheme].has_account &&
	    take_part(&s, &n, &u->account) < 0)
		return error_set(errp, EINVAL, "no storage account");
	if (schemes[u->scheme].has_container &&
	    take_part(&s, &n, &u->container) < 0)
		return error_set(errp, EINVAL, "no bucket or container");
	if (u->scheme == URI_FILE && (!n || *s != '/'))
		return error_set(errp, EINVAL, "three slashes expected");
	if (decode(&key, s, n) < 0)
		return error_set(errp, EINVAL, "a '%%' that starts no escape");
	n = key.len;
	u->key = strbuf_steal(&key);
	flaw = pointer_flaw(u, n);
	return flaw ? error_set(errp, EINVAL, "%s", flaw) : 0;
}

/* How much of @s a message may show: user info and queries hold secrets. */
static int showable(const char *s, size_t n)
{
	size_t i = 0;

	if (memchr(s, '@', n))
		return 0;
	while (i < n && s[i] != '?' && s[i] != '#')
		i++;
	return (int)i;
}

/*
 * Takes @s apart and returns the one way to write what it says, on the heap, or
 * NULL: all failures are -EINVAL. @ret is the caller's in either case.
 */
static char *parse_any(const char *s, size_t n, struct pointer_uri *ret,
		       struct error **errp)
{
	struct strbuf normal = STRBUF_INIT;
	int r;

	if (n > URI_MAX) {
		error_set(errp, EINVAL, "a URI of more than 4,096 bytes");
		return NULL;
	}
	r = take_parts(s, n, ret, errp);
	if (r < 0) {
		error_prefix(errp, r, "URI '%.*s'", showable(s, n), s);
		return NULL;
	}
	pointer_build(ret, &normal);
	return strbuf_steal(&normal);
}

int pointer_uri_parse(const char *s, size_t n, struct pointer_uri *ret,
		      struct error **errp)
{
	cleanup_pointer_uri struct pointer_uri u = {0};
	cleanup_free char *normal = parse_any(s, n, &u, errp);

	if (!normal)
		return -EINVAL;
	if (strlen(normal) != n || memcmp(normal, s, n) != 0)
		return error_set(errp, EINVAL,
				 "URI '%.*s' is not in normal form, '%s'",
				 showable(s, n), s, normal);
	*ret = u;
	u = (struct pointer_uri){0};
	return 0;
}

int pointer_uri_normalize(const char *s, char **ret, struct error **errp)
{
	cleanup_pointer_uri struct pointer_uri u = {0};
	cleanup_free char *normal = parse_any(s, strlen(s), &u, errp);

	if (!normal)
		return -EINVAL;
	if (strlen(normal) > URI_MAX)
		return error_set(errp, EINVAL,
				 "URI '%s' has more than 4,096 bytes when "
				 "encoded",
				 s);
	*ret = steal_ptr(&normal);
	return 0;
}

void pointer_uri_release(struct pointer_uri *u)
{
	free(u->account);
	free(u->container);
	free(u->key);
	*u = (struct pointer_uri){0};
}
