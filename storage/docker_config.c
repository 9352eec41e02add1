#include "storage/docker_config.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/secret.h"

#define SECRET_MAX (64u << 10)
#define HUB_KEY    "https://index.docker.io/v1/"

void login_release(struct login *l)
{
	wipe_str(&l->user);
	wipe_str(&l->secret);
	wipe_str(&l->identity_token);
	wipe_str(&l->registry_token);
}

void docker_config_match_release(struct docker_config_match *m)
{
	login_release(&m->login);
	free(m->helper);
	*m = (struct docker_config_match){0};
}

/*
 * Keys.
 */

static bool is_hub(const char *host, size_t n)
{
	static const char *const names[] = {"docker.io", "index.docker.io",
					    "registry-1.docker.io"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (n == strlen(names[i]) &&
		    strncasecmp(host, names[i], n) == 0)
			return true;
	return false;
}

bool docker_config_is_hub(const char *host)
{
	return is_hub(host, strlen(host));
}

const char *docker_config_server(const char *host)
{
	return docker_config_is_hub(host) ? HUB_KEY : host;
}

static bool is_host(const char *p, size_t n, const char *host)
{
	if (is_hub(host, strlen(host)))
		return is_hub(p, n);
	return n == strlen(host) && strncasecmp(p, host, n) == 0;
}

/* The API's versions, not names of repositories. */
static bool is_version(const char *path, size_t n)
{
	return n == 2 &&
	       (strncmp(path, "v1", 2) == 0 || strncmp(path, "v2", 2) == 0);
}

/* How well a key fits: 0 not at all, 1 a URL of the host, 2 the host, more the
 * longer the part of the repository's name that it gives. */
static size_t fit(const char *key, const char *host, const char *repo)
{
	const char *p = strstr(key, "://");
	bool is_url = p != NULL;
	const char *path;
	size_t n;

	p = p ? p + 3 : key;
	path = p + strcspn(p, "/");
	if (!is_host(p, (size_t)(path - p), host))
		return 0;
	path += *path == '/';
	n = strlen(path);
	while (n && path[n - 1] == '/')
		n--;
	if (is_url || is_version(path, n))
		return 1;
	if (!n)
		return 2;
	if (!repo || strncmp(path, repo, n) != 0 || (repo[n] && repo[n] != '/'))
		return 0;
	return 2 + n;
}

bool docker_config_is_key_of(const char *key, const char *host)
{
	return fit(key, host, NULL) > 0;
}

/*
 * Entries.
 */

static bool has_text(const struct json *entry, const char *key)
{
	const char *s = json_str(json_get(entry, key));

	return s && *s;
}

/* An empty entry says: see a helper. */
static bool says_something(const struct json *entry)
{
	return has_text(entry, "auth") || has_text(entry, "identitytoken") ||
	       has_text(entry, "registrytoken") ||
	       (has_text(entry, "username") &&
		json_str(json_get(entry, "password")));
}

static const struct json *best_fit(const struct json *map, const char *host,
				   const char *repo,
				   bool (*usable)(const struct json *v))
{
	const struct json *best = NULL;
	size_t best_fit = 0;

	for (const struct json *m = json_first(map); m; m = json_next(m)) {
		size_t f = json_key(m) && usable(m)
				   ? fit(json_key(m), host, repo)
				   : 0;

		if (f > best_fit) {
			best = m;
			best_fit = f;
		}
	}
	return best;
}

/* base64 of "user:secret"; the secret may hold colons. */
static int decode_auth(const char *s, struct login *ret)
{
	char *text = NULL;
	size_t n = 0;
	const char *colon;
	int r;

	r = base64_decode(s, strlen(s), SECRET_MAX, (void **)&text, &n);
	if (r < 0)
		return -EINVAL;
	colon = n && !memchr(text, '\0', n) ? memchr(text, ':', n) : NULL;
	if (colon) {
		ret->user = xstrndup(text, (size_t)(colon - text));
		ret->secret =
			xstrndup(colon + 1, n - (size_t)(colon + 1 - text));
	}
	wipe_free(text, n);
	return colon ? 0 : -EINVAL;
}

static char *take(const struct json *entry, const char *key)
{
	return has_text(entry, key) ? xstrdup(json_str(json_get(entry, key)))
				    : NULL;
}

/* docker writes a user of its own beside a token; it is no login. */
static int login_of_entry(const struct json *entry, struct login *ret)
{
	ret->registry_token = take(entry, "registrytoken");
	ret->identity_token = take(entry, "identitytoken");
	if (ret->registry_token || ret->identity_token)
		return 0;
	if (has_text(entry, "auth"))
		return decode_auth(json_str(json_get(entry, "auth")), ret);
	ret->user = take(entry, "username");
	ret->secret = xstrdup(json_str(json_get(entry, "password")));
	return 0;
}

static bool is_name(const struct json *v)
{
	return json_str(v) && *json_str(v);
}

static int find(const struct json *doc, const char *host, const char *repo,
		struct docker_config_match *ret)
{
	const struct json *entry =
		best_fit(json_get(doc, "auths"), host, repo, says_something);
	const struct json *helper =
		best_fit(json_get(doc, "credHelpers"), host, repo, is_name);

	if (!helper && has_text(doc, "credsStore"))
		helper = json_get(doc, "credsStore");
	ret->helper = helper ? xstrdup(json_str(helper)) : NULL;
	ret->has_login = entry != NULL;
	return entry ? login_of_entry(entry, &ret->login) : 0;
}

int docker_config_find(const char *text, size_t n, const char *host,
		       const char *repo, struct docker_config_match *ret,
		       struct error **errp)
{
	cleanup_docker_config_match struct docker_config_match found = {0};
	cleanup_json struct json *doc = NULL;
	int r = json_parse(text, n, &JSON_LIMITS_BIG, &doc, errp);

	if (r < 0)
		return r;
	r = find(doc, host, repo, &found);
	/* The parser keeps its own copies of what the file said. */
	json_wipe(json_get(doc, "auths"));
	if (r < 0)
		return error_set(errp, EINVAL,
				 "the entry of '%s' holds no user and secret",
				 host);
	*ret = found;
	found = (struct docker_config_match){0};
	return 0;
}
