#include "storage/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/json.h"
#include "base/secret.h"

#define CONFIG_MAX (1u << 20)
#define SECRET_MAX (64u << 10)

/* The file is read for each look-up, so a login made meanwhile counts and no
 * secret stays in memory between two of them. */
struct credentials {
	char *folder; /* $DOCKER_CONFIG or ~/.docker; NULL: neither is set */
};

void login_release(struct login *l)
{
	wipe_str(&l->user);
	wipe_str(&l->secret);
	wipe_str(&l->identity_token);
	wipe_str(&l->registry_token);
}

struct credentials *credentials_new(void)
{
	struct credentials *c = xcalloc(1, sizeof(*c));
	const char *folder = getenv("DOCKER_CONFIG");
	const char *home = getenv("HOME");

	if (folder && *folder)
		c->folder = xstrdup(folder);
	else if (home && *home)
		c->folder = xasprintf("%s/.docker", home);
	return c;
}

void credentials_free(struct credentials *c)
{
	if (!c)
		return;
	free(c->folder);
	free(c);
}

/* Keys come as host, host:port, and as URLs with or without a path. */
static bool key_is_host(const char *key, const char *host)
{
	const char *p = strstr(key, "://");
	size_t n;

	p = p ? p + 3 : key;
	n = strcspn(p, "/");
	return n == strlen(host) && strncasecmp(p, host, n) == 0;
}

/* An entry under the bare host wins over one under a URL of it. */
static const struct json *entry_for(const struct json *auths, const char *host)
{
	const struct json *exact = json_get(auths, host);

	if (exact)
		return exact;
	for (const struct json *m = json_first(auths); m; m = json_next(m))
		if (key_is_host(json_key(m), host))
			return m;
	return NULL;
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
	return colon ? 1 : -EINVAL;
}

static char *take_token(const struct json *entry, const char *key)
{
	const char *s = json_str(json_get(entry, key));

	return s && *s ? xstrdup(s) : NULL;
}

/* docker writes a user of its own beside a token; it is no login. */
static int login_of_entry(const struct json *entry, struct login *ret)
{
	const char *auth = json_str(json_get(entry, "auth"));
	const char *user = json_str(json_get(entry, "username"));
	const char *secret = json_str(json_get(entry, "password"));

	ret->registry_token = take_token(entry, "registrytoken");
	ret->identity_token = take_token(entry, "identitytoken");
	if (ret->registry_token || ret->identity_token)
		return 1;
	if (auth && *auth)
		return decode_auth(auth, ret);
	if (!user || !secret || !*user)
		return 0; /* an empty entry says: see a helper */
	ret->user = xstrdup(user);
	ret->secret = xstrdup(secret);
	return 1;
}

static int find_login(const char *text, size_t n, const char *host,
		      struct login *ret, struct error **errp)
{
	cleanup_json struct json *doc = NULL;
	const struct json *entry;
	int r;

	r = json_parse(text, n, &JSON_LIMITS_BIG, &doc, errp);
	if (r < 0)
		return r;
	entry = entry_for(json_get(doc, "auths"), host);
	r = entry ? login_of_entry(entry, ret) : 0;
	/* The parser keeps its own copies of what the file said. */
	json_wipe(json_get(doc, "auths"));
	if (r < 0)
		return error_set(errp, EINVAL,
				 "the entry of '%s' holds no user and secret",
				 host);
	return r;
}

int credentials_get(struct credentials *c, const char *host, struct login *ret,
		    struct error **errp)
{
	cleanup_free char *path = NULL;
	struct login found = {0};
	char *text = NULL;
	size_t n = 0;
	int r;

	if (!c->folder)
		return 0;
	path = xasprintf("%s/config.json", c->folder);
	r = io_read_file(AT_FDCWD, path, CONFIG_MAX, &text, &n);
	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r < 0)
		return error_set_errno(errp, -r, "cannot read '%s'", path);
	r = find_login(text, n, host, &found, errp);
	wipe_free(text, n);
	if (r < 0)
		return error_prefix(errp, r, "'%s'", path);
	if (r > 0)
		*ret = found;
	return r;
}
