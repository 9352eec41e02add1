/*
 * The header fields that we act on, parsed strictly (RFC 9110, RFC 8288).
 * Everything here comes from a foreign server.
 *
 * Threads: any.
 */
#ifndef STORAGE_HTTP_HEADERS_H
#define STORAGE_HTTP_HEADERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_HEADERS_MAX 65536 /* bytes of all heads of one exchange */

struct http_header;

struct http_headers {
	struct http_header *v;
	size_t n;
	size_t cap;
};
void http_headers_release(struct http_headers *h);

/* Add one field line without its line end. False when it is none: such a line
 * is ignored, as curl and browsers do. */
bool http_headers_add(struct http_headers *h, const char *line, size_t n);
/* First value of that lower-case name, or NULL. */
const char *http_header_find(const struct http_header *v, size_t n,
			     const char *name);

/* "bytes 5-9/100" or with '*' for the total. */
struct content_range {
	uint64_t first;
	uint64_t last;
	uint64_t total; /* UINT64_MAX: not said */
};
/* False for everything else, "bytes * /100" included. */
bool http_parse_content_range(const char *s, struct content_range *ret);

/* What an upload session took: "0-99", "bytes=0-99". *@ret_next is 100. "0-0"
 * is said of nothing and of one byte: 0. */
bool http_parse_upload_range(const char *s, uint64_t *ret_next);

/* Exactly decimal digits ≤ INT64_MAX. */
bool http_parse_length(const char *s, uint64_t *ret);

/* Retry-After: seconds or a date, the date seen from @now_s (seconds since
 * 1970, best the answer's own Date). Milliseconds ≤ a day, or -1. */
int64_t http_parse_retry_after(const char *s, int64_t now_s);
/* Seconds since 1970 of an HTTP date; -1 when it is none. */
int64_t http_parse_date(const char *s);

/* A media type without parameters, lower case, on the heap. NULL when @s is
 * NULL or no media type. */
char *http_media_type(const char *s);

/* Target of the first link with relation "next" in a Link field value, on the
 * heap, or NULL. */
char *http_link_next(const char *s);

/* The text of a Warning field of code 299, on the heap, or NULL. */
char *http_warning_text(const char *s);

#endif
