/*
 * Request signatures of the AWS4 family: Signature Version 4 as object stores
 * want it (the path is not normalised and is encoded once), as a header or in
 * the query, and Google's twin GOOG4.
 *
 * Pure functions: the same input gives the same signature. Results are on the
 * heap; a query with a signature is a secret for as long as it is valid.
 *
 * Threads: any.
 */
#ifndef STORAGE_AWS_SIGN_H
#define STORAGE_AWS_SIGN_H

#include <stddef.h>
#include <stdint.h>

/* What differs between the two families. */
struct sign_dialect {
	const char *algorithm;  /* "AWS4-HMAC-SHA256" */
	const char *key_prefix; /* "AWS4" */
	const char *terminator; /* "aws4_request" */
	const char *parameter;  /* "X-Amz-": begins names in a query */
};
extern const struct sign_dialect SIGN_AWS4, SIGN_GOOG4;

#define SIGN_UNSIGNED_PAYLOAD "UNSIGNED-PAYLOAD"

struct sign_pair {
	const char *name;
	const char *value;
};

/* As it is meant, nothing encoded yet. */
struct sign_request {
	const char *method;
	const char *path; /* begins with '/' */
	const struct sign_pair *query;
	size_t n_query;
	const struct sign_pair *headers; /* all are signed; "host" is one */
	size_t n_headers;
	const char *payload; /* SHA-256 in hex, or SIGN_UNSIGNED_PAYLOAD */
};

/* Who signs, when and for what. */
struct sign_scope {
	const struct sign_dialect *dialect;
	const char *id;
	const char *secret;
	int64_t time; /* seconds since 1970 */
	const char *region;
	const char *service;
};

/* The value of Authorization. */
char *aws_sign_header(const struct sign_request *rq,
		      const struct sign_scope *scope);
/* The whole query, encoded, that makes the URL good for @expires seconds. */
char *aws_sign_query(const struct sign_request *rq,
		     const struct sign_scope *scope, unsigned expires);

struct sign_time {
	char str[17]; /* "20130524T000000Z"; the first eight are the date */
};
struct sign_time aws_sign_time(int64_t t);

/* The very bytes that were signed for, to be sent. */
char *aws_encode_path(const char *path);
char *aws_encode_query(const struct sign_pair *query, size_t n);

#endif
