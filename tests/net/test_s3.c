/*
 * S3 passes the suite of every object store, against a server that checks
 * signatures; and what is S3's own: regions, styles, parts, keys that change.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "storage/s3.h"
#include "tests/conformance/conformance.h"
#include "tests/lib/server.h"
#include "tests/lib/stores.h"
#include "tests/lib/tap.h"

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
		"AWS_CA_BUNDLE",
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

static void open_stack(struct store_stack *st)
{
	struct s3_options o = {
		.times = stores_times,
		.whole_max = STORES_WHOLE_MAX,
		.part_size = STORES_PART_SIZE,
	};

	store_stack_open(st, NULL);
	o.client = st->client;
	o.metadata = st->metadata;
	st->store = object_store_s3_new(&o);
}

static void knows_digests_it_wrote(struct conformance *c,
				   struct store_stack *st)
{
	struct digest d = digest_of_str("known");
	cleanup_error struct error *err = NULL;
	struct object_info info = {0};

	conformance_begin(c);
	check_code(c, store_put(st, "s3://bucket/known", "known", 5, &err), 0,
		   err);
	check_code(c, store_stat(st, "s3://bucket/known", &info, &err), 0, err);
	check(c,
	      info.has_sha256 && digest_equal(&info.sha256, &d) &&
		      info.sha256_from != OBJECT_SHA256_UNKNOWN,
	      "no SHA-256");
	check(c, info.validator[0], "no validator");
	conformance_end(c, "knows the digests it wrote");
}

static void one_stat(struct conformance *c, const char *name, int want)
{
	struct store_stack st;

	open_stack(&st);
	stores_check_stat(c, &st, "s3://bucket/known", name, want);
	store_stack_close(&st);
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
	struct store_stack st;

	clean_environment();
	set_endpoint(s, "127.0.0.1");
	setenv("AWS_SHARED_CREDENTIALS_FILE", keys, 1);
	write_text(keys, "[default]\naws_access_key_id=old\n"
			 "aws_secret_access_key=old\n");
	open_stack(&st);
	conformance_begin(c);
	check_code(c, store_stat(&st, "s3://bucket/known", &info, &e1), -EACCES,
		   e1);
	write_text(keys, text);
	time_sleep_ms(1100); /* not asked for more often than each second */
	check_code(c, store_stat(&st, "s3://bucket/known", &info, &e2), 0, e2);
	conformance_end(c, "reads keys anew when they are refused");
	store_stack_close(&st);
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

/* @text as the config file; the keys are beside it. */
static void use_config(const struct server *id, const char *text)
{
	cleanup_free char *dir = xstrdup(server_value(id, "dir"));
	cleanup_free char *config = xasprintf("%s/config", dir);
	cleanup_free char *keys = xasprintf("%s/keys", dir);

	write_text(config, text);
	setenv("AWS_CONFIG_FILE", config, 1);
	setenv("AWS_SHARED_CREDENTIALS_FILE", keys, 1);
}

/* A role that is taken on with the keys of another profile. */
static void takes_on_roles(struct conformance *c, const struct server *s,
			   const struct server *id)
{
	static const char config[] =
		"[profile r]\nrole_arn = arn:aws:iam::1:role/r\n"
		"source_profile = base\nexternal_id = ext 1\n"
		"[profile self]\nrole_arn = arn:aws:iam::1:role/r\n"
		"source_profile = self\nexternal_id = ext 1\n"
		"[profile env]\nrole_arn = arn:aws:iam::1:role/r\n"
		"credential_source = Environment\nexternal_id = ext 1\n"
		"[profile wrong]\nrole_arn = arn:aws:iam::1:role/r\n"
		"source_profile = base\n"
		"[profile stale]\nrole_arn = arn:aws:iam::1:role/r\n"
		"source_profile = old\nexternal_id = ext 1\n"
		"[profile a]\nrole_arn = x\nsource_profile = b\n"
		"[profile b]\nrole_arn = x\nsource_profile = a\n"
		"[profile mfa]\nrole_arn = x\nsource_profile = base\n"
		"mfa_serial = y\n"
		"[profile bare]\nrole_arn = x\n";
	cleanup_free char *port = xstrdup(server_value(id, "port"));
	cleanup_free char *host = xasprintf("http://127.0.0.1:%s", port);
	cleanup_free char *key = xstrdup(server_value(s, "key"));
	cleanup_free char *secret = xstrdup(server_value(s, "secret"));
	cleanup_free char *dir = xstrdup(server_value(id, "dir"));
	cleanup_free char *path = xasprintf("%s/keys", dir);
	cleanup_free char *keys = xasprintf(
		"[base]\naws_access_key_id=%s\naws_secret_access_key=%s\n"
		"[self]\naws_access_key_id=%s\naws_secret_access_key=%s\n"
		"[old]\naws_access_key_id=%s\naws_secret_access_key=no\n",
		key, secret, key, secret, key);

	clean_environment();
	set_endpoint(s, "127.0.0.1");
	setenv("AWS_ENDPOINT_URL_STS", host, 1);
	write_text(path, keys);
	use_config(id, config);
	setenv("AWS_PROFILE", "r", 1);
	one_stat(c, "takes on a role with another profile's keys", 0);
	setenv("AWS_PROFILE", "self", 1);
	one_stat(c, "takes on a role with the profile's own keys", 0);
	setenv("AWS_PROFILE", "wrong", 1);
	one_stat(c, "is refused a role without its external id", -EACCES);
	setenv("AWS_PROFILE", "stale", 1);
	one_stat(c, "is refused a role with a wrong secret", -EACCES);
	setenv("AWS_PROFILE", "a", 1);
	one_stat(c, "does not go round in circles", -EACCES);
	setenv("AWS_PROFILE", "mfa", 1);
	one_stat(c, "asks nobody for a second factor", -EACCES);
	setenv("AWS_PROFILE", "bare", 1);
	one_stat(c, "takes on no role without keys", -EACCES);
	setenv("AWS_PROFILE", "env", 1);
	one_stat(c, "finds no keys in an empty environment", -EACCES);
	unsetenv("AWS_ENDPOINT_URL_STS");
}

/* The keys of @s, printed by a program that looks at its arguments. */
static void runs_programs(struct conformance *c, const struct server *s,
			  const struct server *id)
{
	cleanup_free char *dir = xstrdup(server_value(id, "dir"));
	cleanup_free char *program = xasprintf("%s/print keys", dir);
	cleanup_free char *key = xstrdup(server_value(s, "key"));
	cleanup_free char *text = xasprintf(
		"#!/bin/sh\n"
		"test \"$1\" = '$HOME;x' && test \"$2\" = 'a \"b\"' &&\n"
		"test \"$3\" = '' && test $# = 3 && test ! -e /proc/self/fd/3 "
		"|| exit 3\n"
		"echo '{\"Version\":1,\"AccessKeyId\":\"%s\","
		"\"SecretAccessKey\":\"%s\"}'\n",
		key, server_value(s, "secret"));
	cleanup_free char *config = xasprintf(
		"[profile good]\ncredential_process = \"%s\" '$HOME;x' "
		"\"a \\\"b\\\"\" ''\n"
		"[profile other]\ncredential_process = \"%s\" x\n"
		"[profile open]\ncredential_process = \"%s\n"
		"[profile relative]\ncredential_process = ./x\n"
		"[profile gone]\ncredential_process = /nonexistent/x\n"
		"[profile babble]\ncredential_process = echo nothing\n",
		program, program, program);

	clean_environment();
	set_endpoint(s, "127.0.0.1");
	write_text(program, text);
	chmod(program, 0700);
	use_config(id, config);
	setenv("AWS_PROFILE", "good", 1);
	one_stat(c, "takes keys that a program prints", 0);
	setenv("AWS_PROFILE", "other", 1);
	one_stat(c, "says when the program fails", -EACCES);
	setenv("AWS_PROFILE", "open", 1);
	one_stat(c, "refuses an open quote", -EINVAL);
	setenv("AWS_PROFILE", "relative", 1);
	one_stat(c, "runs nothing by a relative path", -EINVAL);
	setenv("AWS_PROFILE", "gone", 1);
	one_stat(c, "says when the program is not there", -EACCES);
	setenv("AWS_PROFILE", "babble", 1);
	one_stat(c, "refuses what is no answer", -EPROTO);
}

/* TLS before the store, by an authority that only the variable names. */
static void trusts_a_bundle(struct conformance *c, const struct server *s)
{
	cleanup_free char *to = xstrdup(server_value(s, "port"));
	const char *argv[] = {"tls.py", "--to", to, NULL};
	cleanup_free char *port = NULL, *dir = NULL, *url = NULL, *ca = NULL,
			  *config = NULL, *text = NULL;
	struct server tls;

	if (!server_start(&tls, argv))
		tap_skip_all(tls.ready);
	port = xstrdup(server_value(&tls, "port"));
	dir = xstrdup(server_value(&tls, "dir"));
	url = xasprintf("https://127.0.0.1:%s", port);
	ca = xasprintf("%s/ca.pem", dir);
	config = xasprintf("%s/config", dir);
	text = xasprintf("[default]\nca_bundle = %s\n", ca);
	clean_environment();
	set_keys(s);
	setenv("AWS_ENDPOINT_URL_S3", url, 1);
	one_stat(c, "trusts no authority that nobody named", -EIO);
	setenv("AWS_CA_BUNDLE", ca, 1);
	one_stat(c, "trusts AWS_CA_BUNDLE", 0);
	setenv("AWS_CA_BUNDLE", "/nonexistent", 1);
	one_stat(c, "does not go on without it", -EIO);
	unsetenv("AWS_CA_BUNDLE");
	write_text(config, text);
	setenv("AWS_CONFIG_FILE", config, 1);
	one_stat(c, "trusts a profile's ca_bundle", 0);
	server_stop(&tls);
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
	struct store_stack st;

	if (!server_start(&s, argv))
		tap_skip_all(s.ready);
	clean_environment();
	set_keys(&s);
	set_endpoint(&s, "127.0.0.1");
	open_stack(&st);
	conformance_object_store(&c, st.store, "s3://bucket");
	stores_take_odd_keys(&c, &st, "s3://bucket");
	knows_digests_it_wrote(&c, &st);
	stores_go_on(&c, &st, "s3://bucket/parts");
	stores_keep_no_wrong_parts(&c, &st, "s3://bucket/wrong-parts");
	store_stack_close(&st);

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
		takes_on_roles(&c, &s, &id);
		runs_programs(&c, &s, &id);
		server_stop(&id);
		trusts_a_bundle(&c, &s);
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

		check_code(&c,
			   store_put(&st, "s3://bucket/known", "k", 1, &err), 0,
			   err);
	}
	conformance_end(&c, "uploads to a region that it has to learn");
	store_stack_close(&st);
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
