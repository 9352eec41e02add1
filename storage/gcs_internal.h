/*
 * Inside the store of Google Cloud Storage.
 */
#ifndef STORAGE_GCS_INTERNAL_H
#define STORAGE_GCS_INTERNAL_H

#include "base/lock.h"
#include "storage/gcs.h"
#include "storage/object_http.h"

/* google_identity.c: a keeper_fetch; @ctx is a struct google_identity. */
struct google_identity {
	struct http_client *client, *metadata;
};
int google_identity_fetch(void *ctx, struct secret **ret, const struct op *op,
			  struct error **errp);

/* google_jwt.c: a signed assertion that @email is who asks @audience, heap.
 * -EINVAL: @key is no private key in PEM. */
int google_jwt(const char *email, const char *key_id, const char *key,
	       const char *audience, const char *scope, int64_t now_s,
	       char **ret, struct error **errp);

/* google_external.c: a token of somebody else's for one of Google's. */
struct json;
int google_external(struct google_identity *id, const struct json *doc,
		    struct secret **ret, const struct op *op,
		    struct error **errp);
/* The address of a token service in a credentials file: https, or on this
 * machine. */
int google_check_url(const char *url, struct error **errp);
#define GOOGLE_SCOPE "https://www.googleapis.com/auth/devstorage.read_write"

struct gcs {
	struct object_http http;
	struct google_identity identity;
	struct keeper *keeper; /* NULL: anonymous */
	uint64_t piece_size;

	struct mutex lock; /* LOCK_STORE, until configured */
	bool configured;
	bool is_emulator;
	bool has_tokens;
	struct http_url endpoint; /* constant then */
};

static inline struct gcs *gcs_of(struct object_http *h)
{
	return (struct gcs *)h;
}

/* gcs.c */
int gcs_endpoint(struct http_url *ret, bool *ret_is_emulator,
		 struct error **errp);
void gcs_validator(const struct http_response *r, char ret[128]);

/* gcs_hmac.c: the store for holders of an HMAC key; NULL without one. */
struct object_store *gcs_hmac_new(const struct gcs_options *o);

/* struct object_call.kind */
#define GCS_UPLOAD  "upload"
#define GCS_SESSION "session"

/* gcs_put.c */
int gcs_put(struct object_store *s, const struct pointer_uri *uri,
	    struct feed *feed, const struct digest *sha256, const struct op *op,
	    struct error **errp);

#endif
