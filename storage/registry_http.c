#include "storage/registry_http.h"

#include <errno.h>
#include <string.h>

#include "storage/docker_config.h"
#include "storage/registry_http_internal.h"

char *registry_http_blob_path(const char *repo, const struct digest *d)
{
	return xasprintf("/v2/%s/blobs/%s", repo, digest_to_str(d).str);
}

/* Does "scheme://host" in @location go on with a port? */
static bool names_a_port(const char *location)
{
	const char *p = strstr(location, "://");
	const char *end;

	p = p ? p + 3 : strncmp(location, "//", 2) == 0 ? location + 2 : "";
	end = p + strcspn(p, "/?#");
	p = *p == '[' ? p + strcspn(p, "]") : p;
	p = memchr(p, ':', (size_t)(end > p ? end - p : 0));
	return p != NULL;
}

int registry_http_location(const struct http_url *asked,
			   const struct http_response *r, struct http_url *ret,
			   struct error **errp)
{
	const char *s = http_response_header(r, "location");
	int rc;

	if (!s)
		return error_set(errp, EPROTO, "the answer lacks a Location");
	rc = http_url_resolve(asked, s, ret, NULL);
	if (rc < 0)
		return error_set(errp, EPROTO, "the Location is no URL");
	if (asked->tls && !ret->tls) {
		http_url_release(ret);
		return error_set(errp, EPROTO,
				 "the Location leads from https to http");
	}
	if (asked->tls == ret->tls && strcmp(asked->host, ret->host) == 0 &&
	    !names_a_port(s))
		ret->port = asked->port;
	return 0;
}

static void free_registry(struct registry *r)
{
	struct registry_http *h = registry_http_of(r);

	registry_http_targets_release(h);
	map_release(&h->warned);
	registry_http_auth_release(h);
	strv_free(h->token_realms);
	free(h->uploads);
	free(h->mirror_of);
	http_url_release(&h->origin);
	cond_destroy(&h->grant_made);
	mutex_destroy(&h->lock);
	free(h->host);
	free(h);
}

static const struct registry_ops ops = {
	.resolve = registry_http_resolve,
	.get_manifest = registry_http_get_manifest,
	.put_manifest = registry_http_put_manifest,
	.has_blob = registry_http_has_blob,
	.read_blob = registry_http_read_blob,
	.put_blob = registry_http_put_blob,
	.mount_blob = registry_http_mount_blob,
	.list_tags = registry_http_list_tags,
	.referrers = registry_http_referrers,
	.remove = registry_http_remove,
	.list_repos = registry_http_list_repos,
	.probe = registry_http_probe,
	.free = free_registry,
};

static int parse_host(const char *scheme, const char *host,
		      struct http_url *ret, struct error **errp)
{
	cleanup_free char *s = xasprintf("%s://%s/", scheme, host);
	int r = http_url_parse(s, ret, NULL);

	if (r == 0 && strcmp(ret->path, "/") == 0 && !ret->query)
		return 0;
	if (r == 0)
		http_url_release(ret);
	return error_set(errp, EINVAL, "'%s' is no registry host", host);
}

int registry_http_check_host(const char *host, struct error **errp)
{
	cleanup_http_url struct http_url url = {0};

	return parse_host("https", host, &url, errp);
}

/* Docker Hub's API is not at the host that references name. */
static const char *api_host(const char *host)
{
	return docker_config_is_hub(host) ? "registry-1.docker.io" : host;
}

int registry_http_new(struct http_client *client,
		      const struct registry_http_options *o,
		      struct registry **ret, struct error **errp)
{
	struct http_url origin = {0};
	struct registry_http *h;
	int r = parse_host("https", api_host(o->host), &origin, errp);

	if (r < 0)
		return r;
	if (!o->tls &&
	    (o->plain_http || address_host_is_loopback(origin.host))) {
		http_url_release(&origin);
		r = parse_host("http", api_host(o->host), &origin, errp);
		if (r < 0)
			return r;
	}
	h = xcalloc(1, sizeof(*h));
	h->registry.ops = &ops;
	h->client = client;
	h->times = o->times;
	h->credentials = o->credentials;
	h->host = xstrdup(o->host);
	h->origin = origin;
	for (char *const *s = o->token_realms; s && *s; s++)
		strv_append(&h->token_realms, xstrdup(*s));
	h->mirror_of = o->mirror_of ? xstrdup(o->mirror_of) : NULL;
	h->uploads = o->uploads ? xstrdup(o->uploads) : NULL;
	mutex_init(&h->lock, LOCK_REGISTRY);
	cond_init(&h->grant_made);
	*ret = &h->registry;
	return 0;
}
