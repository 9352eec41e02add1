/*
 * s3:// objects: Amazon S3 and what speaks its protocol (MinIO, Ceph, R2,
 * Google's interoperability endpoint, …).
 *
 * From the environment and the AWS tools' files, when first used:
 *   endpoint  AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, the profile's
 *             `endpoint_url`; else Amazon's, by region
 *   region    AWS_REGION, AWS_DEFAULT_REGION, the profile's `region`, else
 *             us-east-1; a bucket's own region is learned from its store
 *   style     the profile's `s3` / `addressing_style`: path or virtual; else
 *             virtual hosts at Amazon, paths elsewhere and for buckets with
 *             dots
 *   trust     AWS_CA_BUNDLE, the profile's `ca_bundle`; else the client's
 *   keys      storage/aws_credentials.h
 * An endpoint never comes from a pointer.
 */
#ifndef STORAGE_S3_H
#define STORAGE_S3_H

#include "storage/http.h"
#include "storage/object_store.h"

struct s3_options {
	struct http_client *client;   /* both outlive the store */
	struct http_client *metadata; /* with fixed addresses */
	struct retry_times times;
	bool anonymous;
	/* Buckets whose owners want the reader to pay; NULL-ended, copied. */
	char *const *requester_pays;
	/* Above it an upload goes in parts; 0: 64 MiB and 16 MiB. */
	uint64_t whole_max, part_size;
};
struct object_store *object_store_s3_new(const struct s3_options *o);

#endif
