/*
 * Inside the S3 store.
 */
#ifndef STORAGE_S3_INTERNAL_H
#define STORAGE_S3_INTERNAL_H

#include "base/lock.h"
#include "base/map.h"
#include "storage/aws_credentials.h"
#include "storage/object_http.h"
#include "storage/s3.h"

struct s3 {
	struct object_http http;
	struct aws_chain chain;
	struct keeper *keeper; /* NULL: anonymous */
	char **requester_pays;
	uint64_t whole_max, part_size;
	atomic_bool plain_puts; /* it knows no preconditions on uploads */

	struct mutex lock; /* LOCK_STORE, until configured: all below */
	bool configured;   /* then all but `regions` is constant, and so are
			    * the chain's region and CA */
	bool has_endpoint;
	struct http_url endpoint;
	char *region;
	bool virtual_style, path_style; /* said so; else by endpoint */
	struct map regions;             /* bucket → what was learned; heap */
};

static inline struct s3 *s3_of(struct object_http *h)
{
	return (struct s3 *)h;
}

/* s3_config.c */
int s3_configure(struct s3 *s, struct error **errp);
void s3_config_release(struct s3 *s);
/* Heap. */
char *s3_region_of(struct s3 *s, const char *bucket);
/* False when @region is no region's name or already known. */
bool s3_learn_region(struct s3 *s, const char *bucket, const char *region);
/* Where an object or (@key NULL) its bucket is: scheme, host and port in *@ret,
 * and the path as it is signed, heap. */
char *s3_address(struct s3 *s, const char *bucket, const char *key,
		 const char *region, struct http_url *ret);

/* s3_request.c */
int s3_compose(struct object_http *h, const struct object_call *c,
	       struct object_wire *ret, const struct op *op,
	       struct error **errp);

/* s3_refused.c */
enum attempt s3_refused(struct object_http *h, const struct object_call *c,
			const struct object_wire *w,
			const struct http_response *r,
			struct object_cures *cures, bool *ret_again,
			const struct op *op, struct error **errp);

/* s3_put.c */
int s3_put(struct object_store *s, const struct pointer_uri *uri,
	   struct feed *feed, const struct digest *sha256, const struct op *op,
	   struct error **errp);

/* s3_multipart.c: an upload in parts, which goes on where an earlier one was
 * broken off. -ESTALE or -EEXIST: something is there by now. */
int s3_put_parts(struct s3 *s, const struct pointer_uri *uri, struct feed *feed,
		 const struct digest *sha256, const struct op *op,
		 struct error **errp);

#endif
