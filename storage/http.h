/*
 * The HTTP client: libcurl's multi interface on one thread, blocking calls for
 * everyone else.
 *
 * libcurl never follows a redirect, reads no netrc and keeps no cookies here.
 * http_request() has its own redirect loop (≤ 10 hops, RFC 9110 section 15.4):
 * headers are rebuilt for each hop, `Authorization` is dropped when scheme,
 * host or port change, https never becomes http, and a target that is neither
 * the origin nor allowed by the address rules is refused. Addresses are
 * checked after DNS (storage/http_address.h): link-local, metadata and
 * unspecified never; loopback and private only when the host that the user
 * named is such itself.
 *
 * Proxies are those of the environment (storage/http_proxy.h). What is reached
 * through one is judged by its name or literal address alone: the proxy looks
 * names up.
 *
 * Bodies are bounded; Content-Encoding is refused; the body is streamed to the
 * caller's sink on the caller's thread through a bounded buffer, so a slow
 * sink slows its own transfer only. An upload's feed is read there as well.
 *
 * A host that answers with Retry-After is left alone by all transfers for that
 * long (10 minutes at most): http_request() is ATTEMPT_BUSY at once then.
 *
 * Threads: http_request() from any thread, many at once. Create the client
 * after the last fork().
 */
#ifndef STORAGE_HTTP_H
#define STORAGE_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/op.h"
#include "base/uri.h"
#include "storage/http_address.h"
#include "storage/retry.h"
#include "storage/sink.h"

struct http_client;

struct http_client_options {
	struct retry_times times;
	const char *ca_file;   /* or a folder; NULL: the system's */
	const char *cert_file; /* NULL: no client certificate */
	const char *key_file;
	/* Folders like /etc/docker/certs.d (storage/http_tls.h), NULL-ended;
	 * NULL: none. */
	const char *const *cert_roots;
	unsigned per_host;   /* transfers at once to one host:port; 0: 8 */
	uint64_t limit_rate; /* bytes/s over all transfers; 0: none */
	const char *user_agent;
	/* Its callers alone choose whom it asks (credential providers): no
	 * address is refused, no redirect is followed, no proxy asked. */
	bool fixed_addresses;
};
int http_client_new(const struct http_client_options *o,
		    struct http_client **ret, struct error **errp);
/* Not while a request runs. */
void http_client_free(struct http_client *c);

enum http_method {
	HTTP_GET,
	HTTP_HEAD,
	HTTP_POST,
	HTTP_PUT,
	HTTP_PATCH,
	HTTP_DELETE
};

struct http_header {
	char *name; /* lower case */
	char *value;
};

struct http_request {
	enum http_method method;
	struct http_url url;
	/* "Name: value" lines; never secret ones. NULL-ended or NULL. */
	const char *const *headers;
	/* The value of Authorization for the origin of @url; NULL: none. */
	const char *authorization;
	/* Body to send; NULL: none (POST and PUT send Content-Length: 0). */
	struct feed *body;
	const char *content_type;
	/* The server keeps what it took of a body: one that breaks off is not
	 * begun again, which otherwise happens where a kept connection turns
	 * out to be dead. */
	bool body_once;
	/* Where a 2xx body goes; NULL: into response.body. */
	struct sink *sink;
	uint64_t max_body; /* of a 2xx body; over it is -EFBIG */
	bool follow;       /* redirects: GET and HEAD only */
	/* A Content-Encoding belongs to the bytes as they are stored: deliver
	 * them so. Else such an answer is refused. */
	bool as_stored;
	/*
	 * Whose address may be reached. @user_host: the user named the host of
	 * @url, so anything but ADDRESS_NEVER is fine for it, and redirects
	 * may go as far inward as it is itself. Otherwise every hop is held to
	 * @reach, and the client certificate is not shown.
	 */
	bool user_host;
	enum address_class reach;
	bool no_cert; /* the client certificate is for others */
	/* Trusted in place of the client's (or the system's) authorities: a
	 * file or a folder; NULL: these. */
	const char *ca_file;
	/* ATTEMPT_STALL unless something moved by then; 0: no such limit. */
	int64_t idle_deadline_ns;
};

struct http_response {
	long status;
	struct http_header *headers; /* of the last hop */
	size_t n_headers;
	char *body; /* NULL or NUL-ended; error bodies are cut at 64 KiB */
	size_t body_len;
	uint64_t sink_bytes;       /* delivered to the sink */
	struct http_url final_url; /* after redirects */
	bool redirected;
	bool strayed; /* over another origin: who chose the last hop? */
	int64_t retry_after_ms; /* -1: none given */
	int code; /* -errno that the sink, the feed or on_head returned, or 0 */
	enum address_class peer; /* of the first hop */
};
void http_response_release(struct http_response *r);
#define cleanup_http_response __attribute__((cleanup(http_response_release)))

/* First header of that (lower-case) name; NULL when absent. */
const char *http_response_header(const struct http_response *r,
				 const char *name);

/*
 * One attempt, redirects included: no retry here. Returns ATTEMPT_OK when a
 * response of any status was read to its end (look at @ret->status), another
 * attempt value otherwise, with an error object. An error answer that breaks
 * off in its body is still an answer. @ret needs releasing in either case. The
 * head (status, headers) is complete before the sink sees its
 * first byte; @on_head, if not NULL, is called then, on the caller's thread,
 * and a negative result ends the transfer with that code (ATTEMPT_PROTOCOL).
 * A failing sink or feed is ATTEMPT_LOCAL, with its error object.
 */
enum attempt http_request(struct http_client *c, const struct http_request *rq,
			  struct http_response *ret,
			  int (*on_head)(void *ctx,
					 const struct http_response *head,
					 struct error **errp),
			  void *ctx, const struct op *op, struct error **errp);

/* Is there such a host? ATTEMPT_OK, or why it is not known, within seconds. */
enum attempt http_look_up(const char *host, const struct op *op);
/* The proxy that @url is asked through, without its login; heap. NULL: none. */
char *http_client_proxy(const struct http_client *c,
			const struct http_url *url);

/* What the attempt's failure is as -errno. */
int http_code(enum attempt a, const struct http_response *r);
/*
 * After a failed attempt @a with its error *@take_err and answer @r (released
 * here): wait and return 0 to try again, or -errno, the error handed on.
 */
int http_again(struct retry *retry, enum attempt a, struct http_response *r,
	       const struct op *op, struct error **take_err,
	       struct error **errp);

#endif
