/*
 * S3 passes the suite of every object store, against a server that checks
 * signatures; and what is S3's own: regions, styles, parts, keys that change.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/s3.h"
#include "tests/conformance/conformance.h"
#include "tests/lib/server.h"
#include "tests/lib/tap.h"

#define MIB ((size_t)1 << 20)

struct stack {
	struct http_client *client, *metadata;
	struct object_store *store;
};

/* Only what a test sets counts. */
static void clean_environment(void)
{
	static const char *const names[] = {
		"AWS_ACCESS_KEY_ID",
		"AWS_SECRET_ACCESS_KEY",
		"AWS_SESSION_TOKEN",
		"AWS_REGION",
		"AWS_DEFAULT_REGION",
		"AWS_PROFILE",
		"AWS_DEFAULT_PROFILE",
		"AWS_ENDPOINT_URL",
		"AWS_ENDPOINT_URL_S3",
		"AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_ROLE_ARN",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unsetenv(names[i]);
	setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
	setenv("AWS_CONFIG_FILE", "/nonexistent", 1);
	setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent", 1);
}

static void set_keys(const struct server *s)
{
	setenv("AWS_ACCESS_KEY_ID", server_value(s, "key"), 1);
	setenv("AWS_SECRET_ACCESS_KEY", server_value(s, "secret"), 1);
}

static void set_endpoint(const struct server *s, const char *host)
{
	cleanup_free char *url =
		xasprintf("http://%s:%s", host, server_value(s, "port"));

	setenv("AWS_ENDPOINT_URL_S3", url, 1);
}

static void open_stack(struct stack *st)
{
	struct http_client_options co = {
		.times = {.connect_ms = 5000,
			  .stall_ms = 10000,
			  .io_ms = 20000},
		.per_host = 16,
	};
	struct s3_options o = {
		.times = co.times,
		.whole_max = 8 * MIB,
		.part_size = 5 * MIB,
	};

	if (http_client_new(&co, &st->client, NULL) < 0)
		abort();
	co.fixed_addresses = true;
	if (http_client_new(&co, &st->metadata, NULL) < 0)
		abort();
	o.client = st->client;
	o.metadata = st->metadata;
	st->store = object_store_s3_new(&o);
}

static void close_stack(struct stack *st)
{
	object_store_free(st->store);
	http_client_free(st->client);
	http_client_free(st->metadata);
}

static int stat_of(struct stack *st, const char *text, struct object_info *ret,
		   struct error **errp)
{
	cleanup_pointer_uri struct pointer_uri uri = {0};
	int r = pointer_uri_parse(text, strlen(text), &uri, errp);

	return r < 0 ? r
		     : st->store->ops->stat(st->store, &uri, ret, NULL, errp);
}

static int put_of(struct stack *st, const char *text, const char *p, size_t n,
		  struct error **errp)
{
	cleanup_pointer_uri struct pointer_uri uri = {0};
	struct digest d = digest_of_buf(p, n);
	struct feed_mem feed;
	int r = pointer_uri_parse(text, strlen(text), &uri, errp);

	feed_mem_init(&feed, p, n);
	return r < 0 ? r
		     : st->store->ops->put(st->store, &uri, &feed.feed, &d,
					   NULL, errp);
}

/* Every byte that a key may have, and steps that are no steps in a key. */
static void takes_odd_keys(struct conformance *c, struct stack *st)
{
	static const char *const keys[] = {
		"plain",
		"with%20blank",
		"plus%2Bsign",
		"%21%22%23%24%25%26%27%28%29%2A%2C%3A%3B%3C%3D%3E%3F%40",
		"%5B%5C%5D%5E%60%7B%7C%7D~",
		"a//b",
		"%C3%A9%E2%82%AC",
		"%252F",
	};

	conformance_begin(c);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		cleanup_free char *uri =
			xasprintf("s3://bucket/odd/%s", keys[i]);
		cleanup_error struct error *e1 = NULL, *e2 = NULL;
		struct object_info info = {0};

		check_code(c, put_of(st, uri, keys[i], strlen(keys[i]), &e1), 0,
			   e1);
		check_code(c, stat_of(st, uri, &info, &e2), 0, e2);
		check(c, info.size == strlen(keys[i]), "%s: size %llu", keys[i],
		      (unsigned long long)info.size);
	}
	conformance_end(c, "takes odd keys");
}

static void knows_digests_it_wrote(struct conformance *c, struct stack *st)
{
	struct digest d = digest_of_str("known");
	cleanup_error struct error *err = NULL;
	struct object_info info = {0};

	conformance_begin(c);
	check_code(c, put_of(st, "s3://bucket/known", "known", 5, &err), 0,
		   err);
	check_code(c, stat_of(st, "s3://bucket/known", &info, &err), 0, err);
	check(c,
	      info.has_sha256 && digest_equal(&info.sha256, &d) &&
		      info.sha256_from != OBJECT_SHA256_UNKNOWN,
	      "no SHA-256");
	check(c, info.validator[0], "no validator");
	conformance_end(c, "knows the digests it wrote");
}

/* Fails once, in the middle; what was sent is not sent again. */
static void goes_on_where_it_broke_off(struct conformance *c, struct stack *st)
{
	const size_t n = 23 * MIB;
	cleanup_free char *p = conformance_bytes("parts", n);
	cleanup_error struct error *e1 = NULL, *e2 = NULL;
	cleanup_pointer_uri struct pointer_uri uri = {0};
	const char *text = "s3://bucket/parts";
	atomic_uint_fast64_t sent = 0;
	struct digest d = digest_of_buf(p, n);
	struct op op = OP_INIT;
	struct probe_feed feed;

	conformance_begin(c);
	if (pointer_uri_parse(text, strlen(text), &uri, NULL) < 0)
		abort();
	probe_feed_init(&feed, p, n);
	feed.fail_from = 17 * MIB;
	feed.code = ETIMEDOUT; /* as a network that fails */
	check_code(c,
		   st->store->ops->put(st->store, &uri, &feed.feed, &d, NULL,
				       &e1),
		   -ETIMEDOUT, e1);
	probe_feed_init(&feed, p, n);
	op.bytes_out = &sent;
	check_code(c,
		   st->store->ops->put(st->store, &uri, &feed.feed, &d, &op,
				       &e2),
		   0, e2);
	check(c, sent < 10 * MIB, "%llu bytes were sent again",
	      (unsigned long long)sent);
	check(c, st->store->ops->remove(st->store, &uri, NULL, NULL) == 0,
	      "remove");
	conformance_end(c, "goes on with an upload that broke off");
}

/* The last part gives it away: nothing may come of the upload. */
static void keeps_no_wrong_parts(struct conformance *c, struct stack *st)
{
	const size_t n = 12 * MIB;
	cleanup_free char *p = conformance_bytes("wrong parts", n);
	cleanup_error struct error *err = NULL;
	cleanup_pointer_uri struct pointer_uri uri = {0};
	const char *text = "s3://bucket/wrong-parts";
	struct digest d = digest_of_buf(p, n);
	struct object_info info;
	struct feed_mem feed;

	conformance_begin(c);
	if (pointer_uri_parse(text, strlen(text), &uri, NULL) < 0)
		abort();
	p[n - 1] ^= 1;
	feed_mem_init(&feed, p, n);
	check_code(c,
		   st->store->ops->put(st->store, &uri, &feed.feed, &d, NULL,
				       &err),
		   -EBADMSG, err);
	check(c, stat_of(st, text, &info, NULL) == -ENOENT, "it is there");
	conformance_end(c, "keeps no parts of wrong content");
}

static void one_stat(struct conformance *c, const char *name, int want)
{
	cleanup_error struct error *err = NULL;
	struct object_info info;
	struct stack st;

	open_stack(&st);
	conformance_begin(c);
	check_code(c, stat_of(&st, "s3://bucket/known", &info, &err), want,
		   err);
	check(c, !err || !strstr(err->message, "canary"),
	      "a secret in the message");
	conformance_end(c, name);
	close_stack(&st);
}

static void write_text(const char *path, const char *text)
{
	cleanup_file FILE *f = fopen(path, "w");

	if (!f || fputs(text, f) < 0)
		abort();
}

/* The same keys from the tools' files, with region and endpoint. */
static void reads_a_profile(struct conformance *c, const struct server *s)
{
	cleanup_free char *dir = xstrdup(server_value(s, "dir"));
	cleanup_free char *config = xasprintf("%s/aws-config", dir);
	cleanup_free char *keys = xasprintf("%s/aws-keys", dir);
	cleanup_free char *port = xstrdup(server_value(s, "port"));
	cleanup_free char *key = xstrdup(server_value(s, "key"));
	cleanup_free char *config_text =
		xasprintf("[default]\nregion = eu-north-9\n[profile "
			  "p]\nregion=us-east-1\n"
			  "services = local\ns3 =\n  addressing_style = path\n"
			  "[services local]\ns3 =\n  endpoint_url = "
			  "http://127.0.0.1:%s\n",
			  port);
	cleanup_free char *keys_text = xasprintf(
		"# none of these\n[default]\naws_access_key_id = x\n"
		"aws_secret_access_key = y\n\n[p]\naws_access_key_id = %s\n"
		"aws_secret_access_key = %s\n",
		key, server_value(s, "secret"));

	clean_environment();
	write_text(config, config_text);
	write_text(keys, keys_text);
	setenv("AWS_CONFIG_FILE", config, 1);
	setenv("AWS_SHARED_CREDENTIALS_FILE", keys, 1);
	setenv("AWS_PROFILE", "p", 1);
	one_stat(c, "finds keys, region and endpoint in a profile", 0);
	setenv("AWS_PROFILE", "none", 1);
	one_stat(c, "refuses a profile that is not there", -EINVAL);
	unsetenv("AWS_PROFILE");
	setenv("AWS_REGION", "us-east-1", 1);
	set_endpoint(s, "127.0.0.1");
	one_stat(c, "is refused with keys of nobody", -EACCES);
	/* Keys that are mended while the program runs count. */
}

static void follows_new_keys(struct conformance *c, const struct server *s)
{
	cleanup_free char *dir = xstrdup(server_value(s, "dir"));
	cleanup_free char *keys = xasprintf("%s/aws-rotated", dir);
	cleanup_free char *key = xstrdup(server_value(s, "key"));
	cleanup_free char *text = xasprintf(
		"[default]\naws_access_key_id=%s\naws_secret_access_key=%s\n",
		key, server_value(s, "secret"));
	cleanup_error struct error *e1 = NULL, *e2 = NULL;
	struct object_info info;
	struct stack st;

	clean_environment();
	set_endpoint(s, "127.0.0.1");
	setenv("AWS_SHARED_CREDENTIALS_FILE", keys, 1);
	write_text(keys, "[default]\naws_access_key_id=old\n"
			 "aws_secret_access_key=old\n");
	open_stack(&st);
	conformance_begin(c);
	check_code(c, stat_of(&st, "s3://bucket/known", &info, &e1), -EACCES,
		   e1);
	write_text(keys, text);
	time_sleep_ms(1100); /* not asked for more often than each second */
	check_code(c, stat_of(&st, "s3://bucket/known", &info, &e2), 0, e2);
	conformance_end(c, "reads keys anew when they are refused");
	close_stack(&st);
}

/* Temporary keys of the machine, the container, the cluster. */
static void other_ways(struct conformance *c, const struct server *s,
		       const struct server *id)
{
	cleanup_free char *port = xstrdup(server_value(id, "port"));
	cleanup_free char *dir = xstrdup(server_value(id, "dir"));
	cleanup_free char *host = xasprintf("http://127.0.0.1:%s", port);
	cleanup_free char *agent =
		xasprintf("http://127.0.0.1:%s/container", port);
	cleanup_free char *agent_token = xasprintf("%s/container-token", dir);
	cleanup_free char *web_token = xasprintf("%s/web-token", dir);

	clean_environment();
	set_endpoint(s, "127.0.0.1");
	unsetenv("AWS_EC2_METADATA_DISABLED");
	setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", host, 1);
	one_stat(c, "takes keys of the instance", 0);
	setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
	/* Without keys it asks unsigned, which this server knows not at all. */
	one_stat(c, "unless that is turned off", -EIO);
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent, 1);
	setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", agent_token, 1);
	one_stat(c, "takes keys of the container", 0);
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/x", 1);
	one_stat(c, "asks no stranger for keys", -EACCES);
	setenv("AWS_ENDPOINT_URL_STS", host, 1);
	setenv("AWS_WEB_IDENTITY_TOKEN_FILE", web_token, 1);
	setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/r", 1);
	one_stat(c, "takes keys for a web identity", 0);
	setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/other", 1);
	one_stat(c, "is refused for another role", -EACCES);
	unsetenv("AWS_ENDPOINT_URL_STS");
}

int main(void)
{
	const char *const argv[] = {"s3.py", NULL};
	const char *const elsewhere[] = {"s3.py", "--region", "eu-west-7",
					 NULL};
	struct conformance c = {.label = "s3"};
	const char *identity[] = {"identity.py", "--id", NULL,
				  "--secret",    NULL,   NULL};
	struct server s, other, id;
	struct stack st;

	if (!server_start(&s, argv))
		tap_skip_all(s.ready);
	clean_environment();
	set_keys(&s);
	set_endpoint(&s, "127.0.0.1");
	open_stack(&st);
	conformance_object_store(&c, st.store, "s3://bucket");
	takes_odd_keys(&c, &st);
	knows_digests_it_wrote(&c, &st);
	goes_on_where_it_broke_off(&c, &st);
	keeps_no_wrong_parts(&c, &st);
	close_stack(&st);

	setenv("AWS_SECRET_ACCESS_KEY", "canary-wrong", 1);
	one_stat(&c, "is refused with a wrong secret", -EACCES);
	set_keys(&s);
	setenv("AWS_REGION", "ap-south-9", 1);
	one_stat(&c, "finds the region of a bucket", 0);
	setenv("AWS_REGION", "No Region", 1);
	one_stat(&c, "refuses what is no region", -EINVAL);
	reads_a_profile(&c, &s);
	follows_new_keys(&c, &s);
	{
		cleanup_free char *key = xstrdup(server_value(&s, "key"));
		cleanup_free char *secret = xstrdup(server_value(&s, "secret"));

		identity[2] = key;
		identity[4] = secret;
		if (!server_start(&id, identity))
			tap_skip_all(id.ready);
		other_ways(&c, &s, &id);
		server_stop(&id);
	}

	if (!server_start(&other, elsewhere))
		tap_skip_all(other.ready);
	clean_environment();
	set_keys(&other);
	set_endpoint(&other, "127.0.0.1");
	open_stack(&st);
	c.label = "s3, another region";
	conformance_begin(&c);
	{
		cleanup_error struct error *err = NULL;

		check_code(&c, put_of(&st, "s3://bucket/known", "k", 1, &err),
			   0, err);
	}
	conformance_end(&c, "uploads to a region that it has to learn");
	close_stack(&st);
	{
		static const char config[] =
			"[default]\ns3 =\n  addressing_style = virtual\n";
		cleanup_free char *dir = xstrdup(server_value(&other, "dir"));
		cleanup_free char *path = xasprintf("%s/aws-virtual", dir);

		write_text(path, config);
		setenv("AWS_CONFIG_FILE", path, 1);
		set_endpoint(&other, "s3.localhost");
		one_stat(&c, "names the bucket in the host", 0);
	}
	server_stop(&other);
	server_stop(&s);
	return conformance_done(&c);
}
