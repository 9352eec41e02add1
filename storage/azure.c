#include "storage/azure.h"

#include <errno.h>
#include <stdlib.h>

#include "storage/azure_internal.h"

#define WHOLE_MAX  ((uint64_t)64 << 20)
#define BLOCK_SIZE ((uint64_t)16 << 20)

static void azure_free(struct object_store *s)
{
	struct azure *az = azure_of(object_http_of(s));

	keeper_free(az->keeper);
	azure_account_release(&az->account);
	mutex_destroy(&az->lock);
	free(az);
}

static const struct object_store_ops ops = {
	.stat = object_http_stat,
	.read = object_http_read,
	.put = azure_put,
	.remove = object_http_remove,
	.free = azure_free,
};

static const struct object_dialect dialect = {
	.compose = azure_compose,
	.refused = azure_refused,
	.validator = object_etag,
	.claim = "x-ms-meta-sha256",
	.pin_header = "if-match",
};

struct object_store *object_store_azure_new(const struct azure_options *o)
{
	struct azure *az = xcalloc(1, sizeof(*az));

	az->http.store.ops = &ops;
	az->http.dialect = &dialect;
	az->http.client = o->client;
	az->http.times = o->times;
	az->identity.client = o->client;
	az->identity.metadata = o->metadata;
	az->whole_max = o->whole_max ? o->whole_max : WHOLE_MAX;
	az->block_size = o->block_size ? o->block_size : BLOCK_SIZE;
	mutex_init(&az->lock, LOCK_STORE);
	if (!o->anonymous)
		az->keeper = keeper_new(azure_identity_fetch, &az->identity);
	return &az->http.store;
}
