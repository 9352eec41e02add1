#include "engine/session.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/map.h"
#include "storage/azure.h"
#include "storage/credentials.h"
#include "storage/gcs.h"
#include "storage/http.h"
#include "storage/http_tls.h"
#include "storage/registry_http.h"
#include "storage/registry_mirror.h"
#include "storage/s3.h"

/* What a mirror gets before the next one is asked. */
#define MIRROR_IO_MS 5000

struct session {
	const struct settings *settings;
	struct mutex lock; /* of everything below */
	struct cache *cache;
	struct fetcher *fetcher;
	struct http_client *http;
	struct credentials *credentials;
	struct map registries; /* kind, then host or folder → registry */
	struct registry *override;
	struct http_client *metadata; /* with fixed addresses */
	bool has_stores;
	struct object_stores stores; /* immutable then */
};

int session_new(const struct settings *settings, struct session **ret,
		struct error **errp)
{
	struct session *s = xcalloc(1, sizeof(*s));

	(void)errp; /* what can fail is made when it is used first */
	s->settings = settings;
	mutex_init(&s->lock, LOCK_SESSION);
	*ret = s;
	return 0;
}

void session_free(struct session *s)
{
	size_t pos = 0;
	void *r;

	fetcher_free(s->fetcher); /* uses all that follows */
	while (map_next(&s->registries, &pos, NULL, NULL, &r))
		registry_free(r);
	map_release(&s->registries);
	object_stores_release(&s->stores);
	http_client_free(s->http);
	http_client_free(s->metadata);
	if (s->credentials)
		credentials_free(s->credentials);
	cache_closep(&s->cache);
	mutex_destroy(&s->lock);
	free(s);
}

const struct settings *session_settings(const struct session *s)
{
	return s->settings;
}

/* One that is not there, as when a site's disk is not mounted, is done
 * without. */
static int add_alternates(struct session *s, struct error **errp)
{
	char **dir = s->settings->cache_alternates;
	int r = 0;

	for (; r >= 0 && dir && *dir; dir++) {
		cleanup_error struct error *err = NULL;

		r = cache_add_alternate(s->cache, *dir, &err);
		if (r == -ENOENT) {
			log_debug("%s", err->message);
			r = 0;
		}
		if (r < 0)
			return error_propagate(errp, &err, r);
	}
	return r;
}

static int open_cache(struct session *s, struct error **errp)
{
	const struct settings *set = s->settings;
	int r = set->cache_shared
			? cache_open_group(set->cache_dir, &s->cache, errp)
			: cache_open(set->cache_dir, &s->cache, errp);

	return r < 0 ? r : add_alternates(s, errp);
}

static int cache_locked(struct session *s, struct cache **ret,
			struct error **errp)
{
	int r = 0;

	if (!s->cache) {
		r = open_cache(s, errp);
		if (r < 0)
			cache_closep(&s->cache);
	}
	if (r >= 0)
		*ret = s->cache;
	return r;
}

int session_cache(struct session *s, struct cache **ret, struct error **errp)
{
	mutex_lock(&s->lock);
	int r = cache_locked(s, ret, errp);
	mutex_unlock(&s->lock);
	return r;
}

static int fetcher_locked(struct session *s, struct fetcher **ret,
			  struct error **errp)
{
	struct fetcher_options o = {
		.threads = s->settings->concurrency,
		.io_ms = s->settings->times.io_ms,
	};

	if (!s->fetcher) {
		int r = cache_locked(s, &o.cache, errp);
		if (r < 0)
			return r;
		s->fetcher = fetcher_new(&o);
	}
	*ret = s->fetcher;
	return 0;
}

int session_fetcher(struct session *s, struct fetcher **ret,
		    struct error **errp)
{
	mutex_lock(&s->lock);
	int r = fetcher_locked(s, ret, errp);
	mutex_unlock(&s->lock);
	return r;
}

static int http_locked(struct session *s, struct error **errp)
{
	const struct settings *set = s->settings;
	cleanup_strv char **roots = http_tls_roots();
	struct http_client_options o = {
		.times = set->times,
		.ca_file = set->ca_file,
		.cert_file = set->cert_file,
		.key_file = set->key_file,
		.cert_roots = (const char *const *)roots,
		/* Readers are not to queue behind background transfers. */
		.per_host = set->concurrency ? set->concurrency + 2 : 0,
		.limit_rate = set->limit_rate,
		.user_agent = "mops/" MOPS_VERSION,
	};

	return s->http ? 0 : http_client_new(&o, &s->http, errp);
}

/* Said to be false, where nothing else would be said: TLS on loopback, too. */
static bool wants_tls(const struct settings *set)
{
	const char *origin = NULL;
	cleanup_free char *value = settings_value(set, "plain_http", &origin);

	return value && !set->plain_http && strcmp(origin, "default") != 0;
}

/* For who asks the machine itself who it is: never through a proxy, and
 * nowhere else. */
static int metadata_locked(struct session *s, struct error **errp)
{
	struct http_client_options o = {
		.times = s->settings->times,
		.user_agent = "mops/" MOPS_VERSION,
		.fixed_addresses = true,
	};

	return s->metadata ? 0 : http_client_new(&o, &s->metadata, errp);
}

static void stores_locked(struct session *s)
{
	const struct settings *set = s->settings;
	struct s3_options s3 = {
		.times = set->times,
		.anonymous = set->anonymous,
		.requester_pays = set->s3_requester_pays,
	};
	struct azure_options azure = {
		.times = set->times,
		.anonymous = set->anonymous,
	};
	struct gcs_options gcs = {
		.times = set->times,
		.anonymous = set->anonymous,
	};

	s->has_stores = true;
	s->stores.by_scheme[URI_FILE] = object_store_file_new(set->file_roots);
	if (set->offline) {
		error_set(&s->stores.missing, ENOTCONN, "offline");
		return;
	}
	if (http_locked(s, &s->stores.missing) < 0 ||
	    metadata_locked(s, &s->stores.missing) < 0)
		return;
	s3.client = azure.client = gcs.client = s->http;
	s3.metadata = azure.metadata = gcs.metadata = s->metadata;
	s->stores.by_scheme[URI_S3] = object_store_s3_new(&s3);
	s->stores.by_scheme[URI_AZ] = object_store_azure_new(&azure);
	s->stores.by_scheme[URI_GS] = object_store_gcs_new(&gcs);
}

const struct object_stores *session_stores(struct session *s)
{
	mutex_lock(&s->lock);
	if (!s->has_stores)
		stores_locked(s);
	mutex_unlock(&s->lock);
	return &s->stores;
}

static struct registry_http_options registry_options(const struct session *s,
						     const char *host)
{
	return (struct registry_http_options){
		.host = host,
		.plain_http = s->settings->plain_http,
		.tls = wants_tls(s->settings),
		.token_realms = s->settings->token_realms,
		.uploads = s->settings->uploads_dir,
		.times = s->settings->times,
	};
}

static int registry_http_locked(struct session *s, const char *host,
				struct registry **ret, struct error **errp)
{
	struct registry_http_options o = registry_options(s, host);
	int r = http_locked(s, errp);

	if (r < 0)
		return r;
	if (!s->settings->anonymous && !s->credentials)
		s->credentials = credentials_new();
	o.credentials = s->credentials;
	return registry_http_new(s->http, &o, ret, errp);
}

/* "[scheme://]host[/prefix]" of a setting that was checked. */
static int mirror_locked(struct session *s, const char *place, const char *host,
			 struct registry_mirror *ret, struct error **errp)
{
	const char *scheme = strstr(place, "://");
	const char *p = scheme ? scheme + 3 : place;
	cleanup_free char *there = xstrndup(p, strcspn(p, "/"));
	struct registry_http_options o = {
		.host = there,
		.plain_http = strncmp(place, "http://", 7) == 0,
		.tls = strncmp(place, "https://", 8) == 0,
		.token_realms = s->settings->token_realms,
		.times = s->settings->times,
		.credentials = s->credentials,
		.mirror_of = host,
	};
	int r;

	/* The registry itself is there when a mirror is not. */
	o.times.io_ms = MIN(o.times.io_ms, (int64_t)MIRROR_IO_MS);
	r = registry_http_new(s->http, &o, &ret->registry, errp);
	if (r == 0 && p[strlen(there)])
		ret->prefix = xstrdup(p + strlen(there) + 1);
	return r;
}

static bool is_for(const char *mirror, const char *host)
{
	size_t n = strcspn(mirror, "=");

	return (n == 1 && *mirror == '*') ||
	       (n == strlen(host) && strncasecmp(mirror, host, n) == 0);
}

/* Put the mirrors of @host before *@reg. */
static int put_mirrors_locked(struct session *s, const char *host,
			      struct registry **reg, struct error **errp)
{
	struct registry_mirror *mirrors = NULL;
	size_t n = 0, cap = 0;
	int r = 0;

	for (char **m = s->settings->mirrors; m && *m && r == 0; m++) {
		struct registry_mirror one = {0};

		if (!is_for(*m, host))
			continue;
		r = mirror_locked(s, strchr(*m, '=') + 1, host, &one, errp);
		if (r < 0)
			break;
		ARRAY_GROW(mirrors, n, cap);
		mirrors[n++] = one;
	}
	if (r == 0 && n)
		*reg = registry_mirrored_new(*reg, &mirrors, n);
	for (size_t i = 0; r < 0 && i < n; i++)
		registry_mirror_release(&mirrors[i]);
	free(mirrors);
	return r;
}

static int registry_locked(struct session *s, const struct reference *ref,
			   struct registry **ret, struct error **errp)
{
	cleanup_free char *key =
		xasprintf("%s%s", ref->layout ? "oci:" : "//", ref->registry);
	struct registry *reg = map_get_str(&s->registries, key);
	int r = 0;

	if (!reg) {
		if (ref->layout)
			reg = registry_layout_new(ref->registry);
		else
			r = registry_http_locked(s, ref->registry, &reg, errp);
		if (r == 0 && !ref->layout)
			r = put_mirrors_locked(s, ref->registry, &reg, errp);
		if (r < 0) {
			registry_free(reg);
			return r;
		}
		map_put_str(&s->registries, key, reg);
	}
	*ret = reg;
	return 0;
}

int session_registry(struct session *s, const struct reference *ref,
		     struct registry **ret, struct error **errp)
{
	int r = 0;

	mutex_lock(&s->lock);
	if (s->override)
		*ret = s->override;
	else if (s->settings->offline && !ref->layout)
		r = error_set_kind(errp, ERROR_DOWNLOAD, ENOTCONN,
				   "offline: '%s' is not asked", ref->registry);
	else
		r = registry_locked(s, ref, ret, errp);
	mutex_unlock(&s->lock);
	return r;
}

static int open_to_try(struct session *s, const char *host,
		       struct credentials *c, struct registry **ret,
		       struct error **errp)
{
	struct registry_http_options o = registry_options(s, host);
	int r;

	o.credentials = c;
	mutex_lock(&s->lock);
	r = http_locked(s, errp);
	mutex_unlock(&s->lock);
	return r < 0 ? r : registry_http_new(s->http, &o, ret, errp);
}

int session_try_login(struct session *s, const char *host,
		      const struct login *login, bool *ret_asked,
		      const struct op *op, struct error **errp)
{
	struct credentials *c;
	struct registry *reg = NULL;
	int r;

	if (s->settings->offline)
		return error_set_kind(errp, ERROR_DOWNLOAD, ENOTCONN,
				      "offline: '%s' is not asked", host);
	c = credentials_of(login);
	r = open_to_try(s, host, c, &reg, errp);
	if (r >= 0)
		r = registry_http_try_login(reg, ret_asked, op, errp);
	registry_free(reg);
	credentials_free(c);
	return r;
}

void session_override_registry(struct session *s, struct registry *r)
{
	mutex_lock(&s->lock);
	s->override = r;
	mutex_unlock(&s->lock);
}
