/*
 * conformance-registry-http HOST[:PORT] [PREFIX]
 *
 * The registry suite against a live registry, as TAP. Plain HTTP is used for
 * loopback hosts. Credentials come from the docker config file. The
 * repositories below PREFIX ("conformance") stay behind.
 */
#include <stdio.h>
#include <stdlib.h>

#include "storage/registry_http.h"
#include "tests/conformance/conformance.h"

/* Each process has its own client: it may be made only after the last fork. */
struct connection {
	const char *host;
	struct http_client *client;
	struct credentials *credentials;
};

static struct registry *connect_to(void *ctx)
{
	struct http_client_options options = {.times = RETRY_TIMES_DEFAULT};
	cleanup_error struct error *err = NULL;
	struct connection *c = ctx;
	struct registry_http_options o = {.host = c->host,
					  .times = RETRY_TIMES_DEFAULT};
	struct registry *r = NULL;

	c->credentials = credentials_new();
	o.credentials = c->credentials;
	if (http_client_new(&options, &c->client, &err) < 0 ||
	    registry_http_new(c->client, &o, &r, &err) < 0)
		printf("Bail out! %s\n", err->message);
	return r;
}

static void disconnect(struct connection *c, struct registry *r)
{
	registry_free(r);
	http_client_free(c->client);
	credentials_free(c->credentials);
}

int main(int argc, char **argv)
{
	const char *prefix = argc > 2 ? argv[2] : "conformance";
	struct conformance c = {.label = "http"};
	struct connection conn = {0};
	struct registry *r;

	if (argc < 2) {
		fprintf(stderr, "usage: %s HOST[:PORT] [PREFIX]\n", argv[0]);
		return 2;
	}
	conn.host = argv[1];
	conformance_registry_processes(&c, connect_to, &conn, prefix);
	r = connect_to(&conn);
	if (!r)
		return 99;
	conformance_registry(&c, r, prefix);
	disconnect(&conn, r);
	return conformance_done(&c);
}
