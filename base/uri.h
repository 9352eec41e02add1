/*
 * URIs: the pointers of a bundle in their one normal form, and the few
 * operations on http(s) URLs that a client with its own redirect loop needs
 * (RFC 3986 sections 3 and 5).
 */
#ifndef BASE_URI_H
#define BASE_URI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum uri_scheme {
	URI_S3,
	URI_AZ,
	URI_GS,
	URI_FILE,
};

/* A pointer: s3://bucket/key, az://account/container/key, gs://bucket/key or
 * file:///absolute/path. Members are decoded bytes. */
struct pointer_uri {
	enum uri_scheme scheme;
	char *account;   /* az only */
	char *container; /* bucket or container; NULL for file */
	char *key;       /* object key; absolute path for file */
};

/*
 * Readers: only the normal form (unreserved bytes and '/' literal, all else
 * %XX in upper case; no query, fragment, user, empty key) of ≤ 4,096 bytes.
 * Buckets and containers are 3–255 of [A-Za-z0-9._-], accounts 3–24 of [a-z0-9]
 * ('$root', '$web' and '$logs' are containers too). A key is UTF-8 without C0
 * and DEL and has no "." or ".." between its slashes; the path of a file has
 * nothing empty between them either. -EINVAL otherwise.
 */
int pointer_uri_parse(const char *s, size_t n, struct pointer_uri *ret,
		      struct error **errp);
/* Writers: normalise what a user wrote; *@ret is on the heap. "%XX" is taken
 * as an escape; a '?', '#' or '%' that is meant has to be written as one. */
int pointer_uri_normalize(const char *s, char **ret, struct error **errp);
void pointer_uri_release(struct pointer_uri *u);
#define cleanup_pointer_uri __attribute__((cleanup(pointer_uri_release)))
const char *uri_scheme_name(enum uri_scheme s);

/* An http(s) URL taken apart. Port is filled in from the scheme. */
struct http_url {
	bool tls;
	char *host; /* lower case, IPv6 without brackets */
	uint16_t port;
	char *path;  /* begins with '/', still encoded */
	char *query; /* NULL, or without the '?', still encoded */
};
/* -EINVAL for anything but http and https, for user info, for control bytes or
 * spaces anywhere, and above 16 KiB. The fragment is dropped. Path and query
 * stay as they are, except that bytes which RFC 3986 does not allow there are
 * percent-encoded. */
int http_url_parse(const char *s, struct http_url *ret, struct error **errp);
/* Resolve a Location header against the URL that was asked (RFC 3986 section
 * 5.2, dot segments removed). */
int http_url_resolve(const struct http_url *base, const char *ref,
		     struct http_url *ret, struct error **errp);
char *http_url_str(const struct http_url *u);
/* For messages: scheme, host, path; "?<redacted>" in place of a query. */
char *http_url_redacted(const struct http_url *u);
/* Same scheme, host and port. */
bool http_url_same_origin(const struct http_url *a, const struct http_url *b);
void http_url_copy(const struct http_url *from, struct http_url *to);
void http_url_release(struct http_url *u);
#define cleanup_http_url __attribute__((cleanup(http_url_release)))

/* For messages: what somebody wrote where an address or anything else was
 * wanted, without what may be a user, a password or a signature: all up to its
 * last '@', and a query. Heap. */
char *uri_without_secrets(const char *s);

/* Append @s percent-encoded (all but unreserved; '/' too when @keep_slash). */
struct strbuf;
void uri_encode(struct strbuf *out, const char *s, size_t n, bool keep_slash);

#endif
