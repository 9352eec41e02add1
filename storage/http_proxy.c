#include "storage/http_proxy.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/secret.h"
#include "storage/http_address.h"

#define ITEM_MAX 300

/*
 * no_proxy.
 */

struct ip {
	int family;
	unsigned char b[16];
};

static bool take_ip(const char *s, struct ip *ret)
{
	*ret = (struct ip){.family = AF_INET};
	if (inet_pton(AF_INET, s, ret->b) == 1)
		return true;
	ret->family = AF_INET6;
	return inet_pton(AF_INET6, s, ret->b) == 1;
}

static bool same_bits(const struct ip *a, const struct ip *b, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;

	if (a->family != b->family || memcmp(a->b, b->b, bytes) != 0)
		return false;
	return !rest || ((a->b[bytes] ^ b->b[bytes]) >> (8 - rest)) == 0;
}

static bool take_decimal(const char *s, unsigned max, unsigned *ret)
{
	unsigned n = 0;

	if (!*s || strlen(s) > 5 || s[strspn(s, "0123456789")])
		return false;
	for (; *s; s++)
		n = n * 10 + (unsigned)(*s - '0');
	*ret = n;
	return n <= max;
}

/* "network/bits". */
static bool network_has(char *item, char *slash, const char *host)
{
	struct ip net, ip;
	unsigned bits;

	*slash = '\0';
	return take_ip(item, &net) && take_ip(host, &ip) &&
	       take_decimal(slash + 1, net.family == AF_INET ? 32 : 128,
			    &bits) &&
	       same_bits(&net, &ip, bits);
}

/* Cut ":port" off, and brackets; false: it is another port. */
static bool take_port(char **item, uint16_t port)
{
	char *colon = strrchr(*item, ':');
	unsigned n;

	if (**item == '[') {
		char *end = strchr(*item, ']');

		if (!end || (end[1] && end[1] != ':'))
			return false;
		colon = end[1] ? end + 1 : NULL;
		*end = '\0';
		++*item;
	} else if (colon && strchr(*item, ':') != colon) {
		return true; /* an IPv6 address */
	}
	if (!colon)
		return true;
	*colon = '\0';
	return take_decimal(colon + 1, 65535, &n) && n == port;
}

static bool name_has(const char *item, const char *host)
{
	size_t n = strlen(host), m;

	item += *item == '.';
	m = strlen(item);
	if (n && host[n - 1] == '.')
		n--;
	if (!m || n < m || strncasecmp(host + n - m, item, m) != 0)
		return false;
	return n == m || host[n - m - 1] == '.';
}

static bool item_has(char *item, const char *host, uint16_t port)
{
	char *slash = strchr(item, '/');
	struct ip a, b;

	if (strcmp(item, "*") == 0)
		return true;
	if (slash)
		return network_has(item, slash, host);
	if (!take_port(&item, port))
		return false;
	if (take_ip(item, &a))
		return take_ip(host, &b) &&
		       same_bits(&a, &b, a.family == AF_INET ? 32 : 128);
	return !take_ip(host, &b) && name_has(item, host);
}

bool no_proxy_has(const char *list, const char *host, uint16_t port)
{
	for (const char *p = list; *p;) {
		size_t n = strcspn(p, ", \t");
		cleanup_free char *item = xstrndup(p, n);

		if (n && n <= ITEM_MAX && item_has(item, host, port))
			return true;
		p += n;
		p += strspn(p, ", \t");
	}
	return false;
}

/*
 * The environment.
 */

static const char *variable(const char *lower, const char *upper)
{
	const char *s = getenv(lower);

	if ((!s || !*s) && upper)
		s = getenv(upper);
	return s && *s ? s : NULL;
}

/* libcurl's copy of what may be a secret. */
static void drop(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	curl_free(text);
}

enum part { PART_NONE, PART_EMPTY, PART_SOME, PART_BROKEN };

/* What @which part of @u is once it is decoded. */
static enum part look_at(CURLU *u, CURLUPart which)
{
	char *text = NULL;
	CURLUcode r = curl_url_get(u, which, &text, CURLU_URLDECODE);
	enum part p = PART_NONE;

	if (r == CURLUE_OK)
		p = *text ? PART_SOME : PART_EMPTY;
	else if (r == CURLUE_URLDECODE)
		p = PART_BROKEN;
	drop(text);
	return p;
}

/*
 * Taken apart as libcurl will: what it cannot take apart it quotes in its
 * message, login and all. What follows the host is the rest of a password that
 * holds an unescaped '/', '?' or '#'.
 */
static bool has_form(const char *s)
{
	CURLU *u = curl_url();
	char *path = NULL;
	bool good = u &&
		    curl_url_set(u, CURLUPART_URL, s,
				 CURLU_NON_SUPPORT_SCHEME |
					 CURLU_GUESS_SCHEME) == CURLUE_OK &&
		    look_at(u, CURLUPART_HOST) == PART_SOME &&
		    look_at(u, CURLUPART_USER) != PART_BROKEN &&
		    look_at(u, CURLUPART_PASSWORD) != PART_BROKEN &&
		    look_at(u, CURLUPART_QUERY) == PART_NONE &&
		    look_at(u, CURLUPART_FRAGMENT) == PART_NONE &&
		    curl_url_get(u, CURLUPART_PATH, &path, 0) == CURLUE_OK &&
		    strcmp(path, "/") == 0;

	drop(path);
	curl_url_cleanup(u);
	return good;
}

static bool is_proxy(const char *s)
{
	static const char *const schemes[] = {"http", "https", "socks5",
					      "socks5h"};
	const char *colon = strstr(s, "://");
	bool known = !colon;

	for (size_t i = 0; colon && i < ARRAY_SIZE(schemes); i++)
		known |= strlen(schemes[i]) == (size_t)(colon - s) &&
			 strncasecmp(s, schemes[i], strlen(schemes[i])) == 0;
	for (const char *p = s; *p; p++)
		if (*p <= ' ' || *p >= 0x7f)
			return false;
	return known && strlen(s) < 4096 && has_form(s);
}

static int take(const char *lower, const char *upper, char **ret,
		struct error **errp)
{
	const char *s = variable(lower, upper);

	if (!s)
		s = variable("all_proxy", "ALL_PROXY");
	if (s && !is_proxy(s))
		return error_set(
			errp, EINVAL,
			"%s (or all_proxy) is no proxy: "
			"[http|https|socks5|socks5h://]"
			"[user:password@]host[:port]; in a password "
			"'@', '/', '?', '#' and '%%' are written as %%XX",
			lower);
	*ret = s ? xstrdup(s) : NULL;
	return 0;
}

int http_proxies_load(struct http_proxies *ret, struct error **errp)
{
	const char *none = variable("no_proxy", "NO_PROXY");
	struct http_proxies p = {0};
	int r = take("https_proxy", "HTTPS_PROXY", &p.https, errp);

	if (r == 0)
		r = take("http_proxy", NULL, &p.http, errp);
	if (r < 0) {
		http_proxies_release(&p);
		return r;
	}
	p.none_for = none ? xstrdup(none) : NULL;
	*ret = p;
	return 0;
}

void http_proxies_release(struct http_proxies *p)
{
	wipe_str(&p->https);
	wipe_str(&p->http);
	free(p->none_for);
	*p = (struct http_proxies){0};
}

const char *http_proxy_for(const struct http_proxies *p,
			   const struct http_url *u)
{
	const char *proxy = u->tls ? p->https : p->http;

	if (!proxy || address_host_is_loopback(u->host) ||
	    (p->none_for && no_proxy_has(p->none_for, u->host, u->port)))
		return NULL;
	return proxy;
}
