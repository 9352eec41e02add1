/*
 * Azure Blob Storage passes the suite of every object store, against Azurite,
 * which checks keys and signatures; and what is Azure's own: ways to say who we
 * are, blocks that a later upload uses, archived blobs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/azure.h"
#include "tests/conformance/conformance.h"
#include "tests/lib/server.h"
#include "tests/lib/tap.h"

#define MIB ((size_t)1 << 20)

struct stack {
	struct http_client *client, *metadata;
	struct object_store *store;
};

static void clean_environment(void)
{
	static const char *const names[] = {
		"AZURE_STORAGE_CONNECTION_STRING",
		"AZURE_STORAGE_ACCOUNT",
		"AZURE_STORAGE_KEY",
		"AZURE_STORAGE_ACCESS_KEY",
		"AZURE_STORAGE_SAS_TOKEN",
		"AZURE_STORAGE_BLOB_ENDPOINT",
		"AZURE_TENANT_ID",
		"AZURE_CLIENT_ID",
		"AZURE_CLIENT_SECRET",
		"AZURE_FEDERATED_TOKEN_FILE",
		"IDENTITY_ENDPOINT",
		"IDENTITY_HEADER",
		"AZURE_AUTHORITY_HOST",
		"AZURE_POD_IDENTITY_AUTHORITY_HOST",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unsetenv(names[i]);
	setenv("AZURE_TOKEN_CREDENTIALS", "dev", 1);
}

static void open_stack(struct stack *st, const char *ca)
{
	struct http_client_options co = {
		.times = {.connect_ms = 5000,
			  .stall_ms = 10000,
			  .io_ms = 20000},
		.ca_file = ca,
		.per_host = 16,
	};
	struct azure_options o = {
		.times = co.times,
		.whole_max = 8 * MIB,
		.block_size = 5 * MIB,
	};

	if (http_client_new(&co, &st->client, NULL) < 0)
		abort();
	co.fixed_addresses = true;
	if (http_client_new(&co, &st->metadata, NULL) < 0)
		abort();
	o.client = st->client;
	o.metadata = st->metadata;
	st->store = object_store_azure_new(&o);
}

static void close_stack(struct stack *st)
{
	object_store_free(st->store);
	http_client_free(st->client);
	http_client_free(st->metadata);
}

static void parse(const char *text, struct pointer_uri *ret)
{
	if (pointer_uri_parse(text, strlen(text), ret, NULL) < 0)
		abort();
}

static int stat_of(struct stack *st, const char *text, struct object_info *ret,
		   struct error **errp)
{
	cleanup_pointer_uri struct pointer_uri uri = {0};

	parse(text, &uri);
	return st->store->ops->stat(st->store, &uri, ret, NULL, errp);
}

static int put_of(struct stack *st, const char *text, const char *p, size_t n,
		  struct error **errp)
{
	cleanup_pointer_uri struct pointer_uri uri = {0};
	struct digest d = digest_of_buf(p, n);
	struct feed_mem feed;

	parse(text, &uri);
	feed_mem_init(&feed, p, n);
	return st->store->ops->put(st->store, &uri, &feed.feed, &d, NULL, errp);
}

static void takes_odd_keys(struct conformance *c, struct stack *st)
{
	static const char *const keys[] = {
		"with%20blank",
		"plus%2Bsign",
		"%21%22%23%24%25%26%27%28%29%2A",
		"%3A%3B%3D%40%5B%5D%5E%60%7B%7C%7D~",
		"%C3%A9%E2%82%AC",
		"%252F",
	};

	conformance_begin(c);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		cleanup_free char *uri =
			xasprintf("az://mopstest/container/odd/%s", keys[i]);
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

static void goes_on_where_it_broke_off(struct conformance *c, struct stack *st)
{
	const size_t n = 23 * MIB;
	cleanup_free char *p = conformance_bytes("blocks", n);
	cleanup_error struct error *e1 = NULL, *e2 = NULL, *e3 = NULL;
	cleanup_pointer_uri struct pointer_uri uri = {0};
	const char *text = "az://mopstest/container/blocks";
	atomic_uint_fast64_t sent = 0;
	struct digest d = digest_of_buf(p, n);
	struct object_info info = {0};
	struct op op = OP_INIT;
	struct probe_feed feed;

	conformance_begin(c);
	parse(text, &uri);
	probe_feed_init(&feed, p, n);
	feed.fail_from = 17 * MIB;
	feed.code = ETIMEDOUT;
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
	check_code(c, stat_of(st, text, &info, &e3), 0, e3);
	check(c,
	      info.size == n && digest_equal(&info.sha256, &d) &&
		      info.sha256_from == OBJECT_SHA256_METADATA,
	      "another object");
	conformance_end(c, "goes on with an upload that broke off");
}

static void keeps_no_wrong_blocks(struct conformance *c, struct stack *st)
{
	const size_t n = 12 * MIB;
	cleanup_free char *p = conformance_bytes("wrong blocks", n);
	cleanup_error struct error *err = NULL;
	cleanup_pointer_uri struct pointer_uri uri = {0};
	const char *text = "az://mopstest/container/wrong-blocks";
	struct digest d = digest_of_buf(p, n);
	struct object_info info;
	struct feed_mem feed;

	conformance_begin(c);
	parse(text, &uri);
	p[n - 1] ^= 1;
	feed_mem_init(&feed, p, n);
	check_code(c,
		   st->store->ops->put(st->store, &uri, &feed.feed, &d, NULL,
				       &err),
		   -EBADMSG, err);
	check(c, stat_of(st, text, &info, NULL) == -ENOENT, "it is there");
	conformance_end(c, "keeps no blocks of wrong content");
}

static void one_stat(struct conformance *c, const char *ca, const char *uri,
		     const char *name, int want)
{
	cleanup_error struct error *err = NULL;
	struct object_info info;
	struct stack st;

	open_stack(&st, ca);
	conformance_begin(c);
	check_code(c, stat_of(&st, uri, &info, &err), want, err);
	check(c, !err || !strstr(err->message, "canary"),
	      "a secret in the message");
	conformance_end(c, name);
	close_stack(&st);
}

static void set_from(const struct server *s, const char *var, const char *key)
{
	setenv(var, server_value(s, key), 1);
}

static void set_account(const struct server *s)
{
	cleanup_free char *scheme =
		xstrdup(*server_value(s, "ca") ? "https" : "http");
	cleanup_free char *url = xasprintf("%s://127.0.0.1:%s/mopstest", scheme,
					   server_value(s, "port"));

	setenv("AZURE_STORAGE_BLOB_ENDPOINT", url, 1);
	set_from(s, "AZURE_STORAGE_ACCOUNT", "account");
}

static void connection_strings(struct conformance *c, const struct server *s)
{
	cleanup_free char *key = xstrdup(server_value(s, "key"));
	cleanup_free char *good =
		xasprintf("AccountName=mopstest;AccountKey=%s;BlobEndpoint="
			  "http://127.0.0.1:%s/mopstest;",
			  key, server_value(s, "port"));

	clean_environment();
	setenv("AZURE_STORAGE_CONNECTION_STRING", good, 1);
	one_stat(c, NULL, "az://mopstest/container/blocks",
		 "finds all in a connection string", 0);
	setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountKey=canary", 1);
	one_stat(c, NULL, "az://mopstest/container/blocks",
		 "refuses a connection string without sense", -EINVAL);
}

static void other_ways(struct conformance *c, const struct server *s,
		       const struct server *id)
{
	cleanup_free char *port = xstrdup(server_value(id, "port"));
	cleanup_free char *dir = xstrdup(server_value(id, "dir"));
	cleanup_free char *ca = xstrdup(server_value(s, "ca"));
	cleanup_free char *host = xasprintf("http://127.0.0.1:%s", port);
	cleanup_free char *app = xasprintf("http://127.0.0.1:%s/app", port);
	cleanup_free char *file = xasprintf("%s/web-token", dir);
	const char *uri = "az://mopstest/container/none";

	/* -ENOENT: whoever asks may look, and nothing is there. */
	clean_environment();
	set_account(s);
	unsetenv("AZURE_TOKEN_CREDENTIALS");
	setenv("AZURE_AUTHORITY_HOST", host, 1);
	setenv("AZURE_TENANT_ID", "tenant-1", 1);
	setenv("AZURE_CLIENT_ID", "client-1", 1);
	setenv("AZURE_CLIENT_SECRET", "canary-client-secret", 1);
	one_stat(c, ca, uri, "shows a client's secret", -ENOENT);
	setenv("AZURE_CLIENT_SECRET", "canary-wrong", 1);
	one_stat(c, ca, uri, "is refused with a wrong one", -EACCES);
	unsetenv("AZURE_CLIENT_SECRET");
	setenv("AZURE_FEDERATED_TOKEN_FILE", file, 1);
	one_stat(c, ca, uri, "shows a workload's identity", -ENOENT);
	unsetenv("AZURE_FEDERATED_TOKEN_FILE");
	setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", host, 1);
	one_stat(c, ca, uri, "shows a managed identity", -ENOENT);
	setenv("IDENTITY_ENDPOINT", app, 1);
	setenv("IDENTITY_HEADER", "canary-identity-header", 1);
	one_stat(c, ca, uri, "shows an app service's identity", -ENOENT);
	setenv("IDENTITY_HEADER", "canary-wrong", 1);
	one_stat(c, ca, uri, "is refused without its header", -EACCES);
}

int main(void)
{
	const char *const argv[] = {"azurite.py", NULL};
	const char *const oauth[] = {"azurite.py", "--oauth", NULL};
	const char *const identity[] = {"identity.py", NULL};
	struct conformance c = {.label = "azure"};
	struct server s, tls, id;
	struct stack st;

	if (!server_start(&s, argv))
		tap_skip_all(s.ready);
	clean_environment();
	set_account(&s);
	set_from(&s, "AZURE_STORAGE_KEY", "key");
	open_stack(&st, NULL);
	conformance_object_store(&c, st.store, "az://mopstest/container");
	takes_odd_keys(&c, &st);
	goes_on_where_it_broke_off(&c, &st);
	keeps_no_wrong_blocks(&c, &st);
	close_stack(&st);

	setenv("AZURE_STORAGE_KEY", "Y2FuYXJ5LXdyb25n", 1);
	one_stat(&c, NULL, "az://mopstest/container/blocks",
		 "is refused with a wrong key", -EACCES);
	unsetenv("AZURE_STORAGE_KEY");
	one_stat(&c, NULL, "az://mopstest/container/blocks",
		 "is refused without any", -EACCES);
	connection_strings(&c, &s);
	server_stop(&s);

	if (!server_start(&tls, oauth) || !server_start(&id, identity))
		tap_skip_all("no servers");
	other_ways(&c, &tls, &id);
	server_stop(&id);
	server_stop(&tls);
	return conformance_done(&c);
}
