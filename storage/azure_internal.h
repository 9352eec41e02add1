/*
 * Inside the Azure store.
 */
#ifndef STORAGE_AZURE_INTERNAL_H
#define STORAGE_AZURE_INTERNAL_H

#include "base/lock.h"
#include "storage/azure.h"
#include "storage/object_http.h"

/* azure_identity.c: a keeper_fetch; @ctx is a struct azure_identity. */
struct azure_identity {
	struct http_client *client, *metadata;
};
int azure_identity_fetch(void *ctx, struct secret **ret, const struct op *op,
			 struct error **errp);

/* azure_account.c: what the environment says about one account. */
struct azure_account {
	char *name; /* NULL: none */
	char *key;  /* decoded */
	size_t key_len;
	char *sas; /* a query, without '?' */
	bool has_endpoint;
	struct http_url endpoint; /* path without a slash at its end */
};
int azure_account_load(struct azure_account *a, struct error **errp);
/* The same from a text, for tests. */
int azure_account_parse(const char *connection_string, struct azure_account *a,
			struct error **errp);
void azure_account_release(struct azure_account *a);
#define cleanup_azure_account __attribute__((cleanup(azure_account_release)))

struct azure {
	struct object_http http;
	struct azure_identity identity;
	struct keeper *keeper; /* NULL: anonymous */
	uint64_t whole_max, block_size;

	struct mutex lock; /* LOCK_STORE, until configured */
	bool configured;
	struct azure_account account; /* constant then */
};

static inline struct azure *azure_of(struct object_http *h)
{
	return (struct azure *)h;
}

/* azure_request.c */
int azure_compose(struct object_http *h, const struct object_call *c,
		  struct object_wire *ret, const struct op *op,
		  struct error **errp);
/* The value of Authorization for a request to @path (encoded) whose fields are
 * @headers; pure, heap. */
char *azure_shared_key(const struct azure_account *a, const char *method,
		       const char *path, const struct sign_pair *query,
		       size_t n_query, const struct sign_pair *headers,
		       size_t n_headers, uint64_t body_size);

/* azure_refused.c */
enum attempt azure_refused(struct object_http *h, const struct object_call *c,
			   const struct object_wire *w,
			   const struct http_response *r,
			   struct object_cures *cures, bool *ret_again,
			   const struct op *op, struct error **errp);

/* azure_put.c */
int azure_put(struct object_store *s, const struct pointer_uri *uri,
	      struct feed *feed, const struct digest *sha256,
	      const struct op *op, struct error **errp);

#endif
