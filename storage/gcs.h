/*
 * gs:// objects: Google Cloud Storage, by its JSON interface.
 *
 * From the environment, when first used:
 *   endpoint   STORAGE_EMULATOR_HOST, else storage.googleapis.com
 *   tokens     application default credentials (storage/google_identity.c);
 *              with an emulator only what a variable names
 *   HMAC key   GS_ACCESS_KEY_ID and GS_SECRET_ACCESS_KEY: then all goes by the
 *              XML interface, signed with it
 */
#ifndef STORAGE_GCS_H
#define STORAGE_GCS_H

#include "storage/http.h"
#include "storage/object_store.h"

struct gcs_options {
	struct http_client *client;   /* both outlive the store */
	struct http_client *metadata; /* with fixed addresses */
	struct retry_times times;
	bool anonymous;
	uint64_t piece_size; /* of an upload; 0: 16 MiB */
};
struct object_store *object_store_gcs_new(const struct gcs_options *o);

#endif
