/*
 * Where buckets are.
 */
#include <errno.h>
#include <string.h>

#include "storage/aws_config.h"
#include "storage/provider.h"
#include "storage/s3_internal.h"

#define REGION_DEFAULT "us-east-1"
#define REGION_MAX     64
#define REGIONS_MAX    4096

static bool region_valid(const char *s)
{
	size_t n = strlen(s);

	return n && n <= REGION_MAX && s[0] != '-' &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

static int set_region(struct s3 *s, const struct aws_config *c,
		      struct error **errp)
{
	const char *said = provider_env("AWS_REGION");

	if (!said)
		said = provider_env("AWS_DEFAULT_REGION");
	if (!said)
		said = aws_config_get(c, "region", NULL);
	if (!said || !*said)
		said = REGION_DEFAULT;
	if (!region_valid(said))
		return error_set(errp, EINVAL, "'%s' is no AWS region", said);
	s->region = xstrdup(said);
	free(s->chain.region);
	s->chain.region = xstrdup(said);
	return 0;
}

static int set_endpoint(struct s3 *s, const struct aws_config *c,
			struct error **errp)
{
	const char *ignore =
		provider_env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
	const char *said = provider_env("AWS_ENDPOINT_URL_S3");
	int r;

	if (!said)
		said = provider_env("AWS_ENDPOINT_URL");
	if (!said)
		said = aws_config_endpoint(c, "s3");
	if (!said || !*said || (ignore && strcasecmp(ignore, "true") == 0))
		return 0;
	r = http_url_parse(said, &s->endpoint, NULL);
	if (r == 0 && strcmp(s->endpoint.path, "/") == 0 &&
	    !s->endpoint.query) {
		s->has_endpoint = true;
		return 0;
	}
	if (r == 0)
		http_url_release(&s->endpoint);
	return error_set(errp, EINVAL,
			 "the S3 endpoint is not of the form "
			 "http[s]://host[:port]");
}

/* For S3 and its token service alone: other stores have their own. */
static void set_ca(struct s3 *s, const struct aws_config *c)
{
	const char *said = provider_env("AWS_CA_BUNDLE");

	if (!said)
		said = aws_config_get(c, "ca_bundle", NULL);
	s->chain.ca_file = said && *said ? xstrdup(said) : NULL;
}

static int configure_locked(struct s3 *s, struct error **errp)
	REQUIRES(&s->lock)
{
	cleanup_aws_config struct aws_config c = {0};
	const char *style;
	int r = aws_config_load(&c, errp);

	if (r == 0)
		r = set_region(s, &c, errp);
	if (r == 0)
		r = set_endpoint(s, &c, errp);
	if (r < 0) {
		freep(&s->region);
		return r;
	}
	set_ca(s, &c);
	style = aws_config_get(&c, "s3", "addressing_style");
	s->virtual_style = style && strcmp(style, "virtual") == 0;
	s->path_style = style && strcmp(style, "path") == 0;
	s->configured = true;
	return 0;
}

int s3_configure(struct s3 *s, struct error **errp)
{
	int r = 0;

	mutex_lock(&s->lock);
	if (!s->configured)
		r = configure_locked(s, errp);
	mutex_unlock(&s->lock);
	return r;
}

void s3_config_release(struct s3 *s)
{
	size_t pos = 0;
	void *region;

	while (map_next(&s->regions, &pos, NULL, NULL, &region))
		free(region);
	map_release(&s->regions);
	http_url_release(&s->endpoint);
	free(s->region);
	free(s->chain.region);
	free(s->chain.ca_file);
}

char *s3_region_of(struct s3 *s, const char *bucket)
{
	const char *learned;
	char *region;

	mutex_lock(&s->lock);
	learned = map_get_str(&s->regions, bucket);
	region = xstrdup(learned ? learned : s->region);
	mutex_unlock(&s->lock);
	return region;
}

bool s3_learn_region(struct s3 *s, const char *bucket, const char *region)
{
	const char *known;
	bool news;

	if (!region || !region_valid(region))
		return false;
	mutex_lock(&s->lock);
	known = map_get_str(&s->regions, bucket);
	news = strcmp(known ? known : s->region, region) != 0 &&
	       map_count(&s->regions) < REGIONS_MAX;
	if (news)
		free(map_put_str(&s->regions, bucket, xstrdup(region)));
	mutex_unlock(&s->lock);
	return news;
}

/* A name that can stand before a host: one label of DNS. */
static bool fits_host(const char *bucket)
{
	size_t n = strlen(bucket);

	return n <= 63 && bucket[0] != '-' && bucket[n - 1] != '-' &&
	       strspn(bucket, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

static bool host_is_address(const char *host)
{
	enum address_class class;

	return address_class_literal(host, &class);
}

char *s3_address(struct s3 *s, const char *bucket, const char *key,
		 const char *region, struct http_url *ret)
{
	bool virtual = s->has_endpoint ? s->virtual_style : !s->path_style;
	cleanup_free char *host = NULL;

	if (s->has_endpoint) {
		host = xstrdup(s->endpoint.host);
		virtual = virtual && !host_is_address(host);
	} else {
		host = xasprintf("s3.%s.amazonaws.com%s", region,
				 strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
	}
	virtual = virtual && fits_host(bucket);
	*ret = (struct http_url){
		.tls = !s->has_endpoint || s->endpoint.tls,
		.port = s->has_endpoint ? s->endpoint.port : 443,
		.host = virtual ? xasprintf("%s.%s", bucket, host)
				: xstrdup(host),
	};
	if (virtual)
		return xasprintf("/%s", key ? key : "");
	return key ? xasprintf("/%s/%s", bucket, key)
		   : xasprintf("/%s", bucket);
}
