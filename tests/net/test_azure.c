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
#include "tests/lib/stores.h"
#include "tests/lib/tap.h"

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

static void open_stack(struct store_stack *st, const char *ca)
{
	struct azure_options o = {
		.times = stores_times,
		.whole_max = STORES_WHOLE_MAX,
		.block_size = STORES_PART_SIZE,
	};

	store_stack_open(st, ca);
	o.client = st->client;
	o.metadata = st->metadata;
	st->store = object_store_azure_new(&o);
}

static void one_stat(struct conformance *c, const char *ca, const char *uri,
		     const char *name, int want)
{
	struct store_stack st;

	open_stack(&st, ca);
	stores_check_stat(c, &st, uri, name, want);
	store_stack_close(&st);
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
	struct store_stack st;

	if (!server_start(&s, argv))
		tap_skip_all(s.ready);
	clean_environment();
	set_account(&s);
	set_from(&s, "AZURE_STORAGE_KEY", "key");
	open_stack(&st, NULL);
	conformance_object_store(&c, st.store, "az://mopstest/container");
	stores_take_odd_keys(&c, &st, "az://mopstest/container");
	stores_go_on(&c, &st, "az://mopstest/container/blocks");
	stores_keep_no_wrong_parts(&c, &st, "az://mopstest/container/wrong");
	store_stack_close(&st);

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
