/*
 * The registry over HTTP passes the suite of every registry, against a real
 * one: anonymous, with basic and with token authentication, and over TLS
 * (HTTP/2) with a client certificate.
 */
#include <errno.h>
#include <stdlib.h>

#include "storage/registry_http.h"
#include "tests/conformance/conformance.h"
#include "tests/lib/server.h"
#include "tests/lib/tap.h"

struct setup {
	const char *label;
	const char *argv[8]; /* of the server */
	bool tls;
	const char *auth; /* base64 for the config file, or NULL */
};

static const struct setup setups[] = {
	{"anonymous", {"registry.py", NULL}, false, NULL},
	{"basic",
	 {"registry.py", "--user", "alice", "--password", "won:der", NULL},
	 false,
	 "YWxpY2U6d29uOmRlcg=="},
	{"token",
	 {"registry.py", "--user", "alice", "--password", "won:der", "--tokens",
	  NULL},
	 false,
	 "YWxpY2U6d29uOmRlcg=="},
	{"tls", {"registry.py", "--tls", "--clients", NULL}, true, NULL},
};

/* What a registry of this process needs; made anew after a fork. */
struct opener {
	struct server server;
	bool tls;
	struct http_client *client;
	struct credentials *credentials;
};

static struct registry *open_registry(void *ctx)
{
	struct opener *o = ctx;
	cleanup_free char *ca = xstrdup(server_value(&o->server, "ca"));
	cleanup_free char *dir = xstrdup(server_value(&o->server, "dir"));
	cleanup_free char *cert = xasprintf("%s/client.pem", dir);
	cleanup_free char *key = xasprintf("%s/client.key", dir);
	struct credentials *credentials = credentials_new();
	const char *host = server_value(&o->server, "host");
	const struct http_client_options co = {
		.times = RETRY_TIMES_DEFAULT,
		.ca_file = *ca ? ca : NULL,
		.cert_file = *ca ? cert : NULL,
		.key_file = *ca ? key : NULL,
		.per_host = 16,
	};
	const struct registry_http_options ro = {
		.host = host,
		.tls = o->tls,
		.times = RETRY_TIMES_DEFAULT,
		.credentials = credentials,
	};
	struct registry *r = NULL;

	o->credentials = credentials;
	if (http_client_new(&co, &o->client, NULL) < 0 ||
	    registry_http_new(o->client, &ro, &r, NULL) < 0)
		abort();
	return r;
}

static void write_docker_config(const char *folder, const char *host,
				const char *auth)
{
	cleanup_free char *path = xasprintf("%s/config.json", folder);
	cleanup_file FILE *f = fopen(path, "w");

	if (!f)
		abort();
	fprintf(f, "{\"auths\":{\"http://%s/v2/\":{\"auth\":\"%s\"}}}", host,
		auth);
	setenv("DOCKER_CONFIG", folder, 1);
}

static void run(struct conformance *c, const struct setup *s)
{
	struct opener o = {.tls = s->tls};
	struct registry *r;

	if (!server_start(&o.server, s->argv))
		tap_skip_all(o.server.ready);
	setenv("DOCKER_CONFIG", "/nonexistent", 1);
	if (s->auth) {
		cleanup_free char *folder =
			xstrdup(server_value(&o.server, "dir"));

		write_docker_config(folder, server_value(&o.server, "host"),
				    s->auth);
	}
	c->label = s->label;
	conformance_registry_processes(c, open_registry, &o, "processes");
	r = open_registry(&o);
	conformance_registry(c, r, "conformance/suite");
	registry_free(r);
	http_client_free(o.client);
	credentials_free(o.credentials);
	server_stop(&o.server);
}

/* No trust, and no TLS where it was asked for: said at once, never retried. */
static void refuses_bad_tls(struct conformance *c, const char *const *argv,
			    const char *name)
{
	cleanup_error struct error *err = NULL;
	const struct http_client_options co = {.times = RETRY_TIMES_DEFAULT};
	struct http_client *client = NULL;
	struct registry *r = NULL;
	struct digest d;
	int64_t began;
	struct server server;

	if (!server_start(&server, argv))
		tap_skip_all(server.ready);
	const struct registry_http_options ro = {
		.host = server_value(&server, "host"),
		.tls = true,
		.times = RETRY_TIMES_DEFAULT,
	};

	if (http_client_new(&co, &client, NULL) < 0 ||
	    registry_http_new(client, &ro, &r, NULL) < 0)
		abort();
	began = time_mono_ns();
	conformance_begin(c);
	check_code(c, r->ops->resolve(r, "a", "1", &d, NULL, &err), -EIO, err);
	check(c, time_mono_ns() - began < 3 * NS_PER_S, "it was tried again");
	conformance_end(c, name);
	registry_free(r);
	http_client_free(client);
	server_stop(&server);
}

int main(void)
{
	const char *const plain[] = {"registry.py", NULL};
	const char *const untrusted[] = {"registry.py", "--tls", NULL};

	struct conformance c = {0};

	for (size_t i = 0; i < ARRAY_SIZE(setups); i++)
		run(&c, &setups[i]);
	refuses_bad_tls(&c, untrusted, "refuses a certificate of nobody");
	refuses_bad_tls(&c, plain, "refuses a server without TLS");
	return conformance_done(&c);
}
