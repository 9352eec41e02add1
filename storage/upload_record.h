/*
 * Uploads in progress, on disk: where a registry takes the rest of a blob, so
 * that the next run goes on there. Only a hint: the registry is asked how far
 * it came, and the blob's digest decides in the end. So nothing here fails;
 * what cannot be kept is not resumed.
 *
 * A file per upload, named by the digest of what is uploaded where, readable
 * by its owner alone (a location may be a capability), locked by the process
 * that uploads. Files that nobody touched for a week are removed.
 */
#ifndef STORAGE_UPLOAD_RECORD_H
#define STORAGE_UPLOAD_RECORD_H

#include "base/uri.h"

struct upload_record {
	int fd; /* -1: nothing is kept */
	char *path;
};

#define UPLOAD_RECORD_INIT \
	{                  \
		.fd = -1   \
	}

/* @folder NULL: keep nothing. *@ret_at is filled in when there is a location
 * (@ret_at->host != NULL). Another process's upload is left alone. */
void upload_record_open(const char *folder, const char *key,
			struct upload_record *ret, struct http_url *ret_at);
void upload_record_set(struct upload_record *r, const struct http_url *at);
/* The upload is over. */
void upload_record_remove(struct upload_record *r);
void upload_record_release(struct upload_record *r);
#define cleanup_upload_record __attribute__((cleanup(upload_record_release)))

/* What such a file holds: a URL and a line end. -EINVAL for all else. */
int upload_record_parse(const char *text, size_t n, struct http_url *ret);

#endif
