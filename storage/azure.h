/*
 * az:// objects: Azure Blob Storage.
 *
 * From the environment, when first used:
 *   account    AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT with
 *              AZURE_STORAGE_KEY (or ..._ACCESS_KEY), ..._SAS_TOKEN,
 *              ..._BLOB_ENDPOINT
 *   tokens     storage/azure_identity.c, for every account whose key or
 *              signature is not set
 * A key or signature is shown to its own account only. An endpoint never comes
 * from a pointer: it is ACCOUNT.blob.core.windows.net, or what was set for
 * that account.
 */
#ifndef STORAGE_AZURE_H
#define STORAGE_AZURE_H

#include "storage/http.h"
#include "storage/object_store.h"

struct azure_options {
	struct http_client *client;   /* both outlive the store */
	struct http_client *metadata; /* with fixed addresses */
	struct retry_times times;
	bool anonymous;
	/* Above it an upload goes in blocks; 0: 64 MiB and 16 MiB. */
	uint64_t whole_max, block_size;
};
struct object_store *object_store_azure_new(const struct azure_options *o);

#endif
