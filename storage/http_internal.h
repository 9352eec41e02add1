/*
 * Inside the HTTP client: one exchange (a request and its answer, no
 * redirects) as the two threads that run it see it.
 *
 * The thread of the client drives libcurl and owns `easy` and all that is
 * called from it. The caller's thread runs sinks and feeds. They meet in
 * `struct transfer`, whose shared members are under its lock. Either side may
 * be the last to leave, so a transfer is counted.
 */
#ifndef STORAGE_HTTP_INTERNAL_H
#define STORAGE_HTTP_INTERNAL_H

#include <curl/curl.h>
#include <stdatomic.h>

#include "base/lock.h"
#include "base/map.h"
#include "base/rate_limit.h"
#include "storage/http.h"
#include "storage/http_headers.h"
#include "storage/http_proxy.h"
#include "storage/http_ring.h"
#include "storage/http_tls.h"

#define HTTP_ERROR_BODY_MAX 65536

/* Begin with libcurl; once per process. */
void http_memory_init(void);

struct http_client {
	struct retry_times times;
	char *ca_file;
	char *cert_file;
	char *key_file;
	char **cert_roots;
	char *user_agent;
	unsigned per_host;
	bool fixed_addresses;
	struct http_proxies proxies;

	struct mutex lock;         /* LOCK_HTTP */
	bool started;              /* the thread runs */
	bool stop;                 /* and must end */
	struct transfer *incoming; /* submitted, newest first */
	struct map pauses;         /* origin → struct host_pause */
	struct map tls;            /* origin, CA → struct tls_entry */
	pthread_t thread;
	CURLM *multi;

	/* The client's thread only. */
	CURLSH *share;
	struct transfer *waiting; /* for a slot, oldest first */
	struct transfer *running;
	struct map slots; /* origin → transfers running, as an integer */
	struct rate_limit rate; /* over all transfers */
};

/* What one exchange sends, and to whom. */
struct transfer_request {
	enum http_method method;
	char *url;
	char *origin; /* scheme, host and port */
	struct curl_slist *fields;
	bool has_body;
	uint64_t body_size;
	bool body_once;
	enum address_class reach;  /* how far inward it may go */
	bool with_cert;            /* the client certificate may be shown */
	struct http_tls *tls;      /* NULL: plain HTTP */
	const char *proxy;         /* the client's, or NULL */
	enum address_class behind; /* what is reached through it */
};

struct transfer {
	atomic_uint refs;
	struct http_client *client;
	struct transfer_request rq; /* constant once submitted */

	struct transfer *next; /* in one of the client's lists */
	CURL *easy;            /* the client's thread only, like: */
	bool rate_paused;
	char errbuf[CURL_ERROR_SIZE];

	atomic_bool abandoned;   /* the caller has left */
	atomic_bool want_resume; /* a paused direction can go on */
	atomic_bool throttled;   /* our own rate limit holds it */

	struct mutex lock; /* LOCK_TRANSFER: all below */
	struct cond cond;  /* something for the caller */
	bool started;      /* has a slot */
	bool connected;    /* the request goes out */
	bool sent;         /* the whole body was handed to libcurl */
	bool head_done;    /* the final status and its fields are there */
	bool done;
	CURLcode result;   /* once done, like: */
	long os_errno;     /* of a failed connection */
	long proxy_status; /* that a proxy answered to CONNECT, or 0 */
	bool reused;       /* a connection that served another request before */
	const char *refused; /* why we broke off, or NULL */
	enum attempt refused_as;
	char *message; /* libcurl's, or NULL */

	long status;
	struct http_headers head;
	size_t head_bytes; /* of all heads so far, 1xx included */
	enum address_class peer;

	struct ring down; /* client's thread → caller */
	bool down_paused;
	struct ring up; /* caller → client's thread */
	bool up_paused;
	uint64_t up_next;    /* offset of the next byte to read from the feed */
	unsigned up_rewinds; /* libcurl went back: a fill in progress is void */
};

/* http_transfer.c. Takes over the members of @take_rq. */
struct transfer *transfer_new(struct http_client *c,
			      struct transfer_request *take_rq);
void transfer_unref(struct transfer *t);

/* The client's thread: make the easy handle, begin. */
void transfer_start(struct transfer *t);
/* The client's thread: end, with or without an easy handle. */
void transfer_finish(struct transfer *t, CURLcode result);

/* http.c: hand @t to the client's thread; it takes a reference. */
int http_client_submit(struct http_client *c, struct transfer *t,
		       struct error **errp);
/* After one of the atomic flags of a transfer was set. */
void http_client_wake(struct http_client *c);

/* http_pause.c: hosts that asked to be left alone. */
void http_pause_set(struct http_client *c, const char *origin, int64_t ms);
/* Milliseconds left, 0: none. */
int64_t http_pause_left_ms(struct http_client *c, const char *origin);
void http_pause_release(struct http_client *c);

/* http_tls.c: what counts for the host of @u; a reference. @ca_file as that of
 * a request. */
int http_tls_get(struct http_client *c, const struct http_url *u,
		 const char *ca_file, struct http_tls **ret,
		 struct error **errp);
void http_tls_release(struct http_client *c);

/* http_cause.c: what a finished transfer that failed was about. Sets @errp. */
enum attempt transfer_cause(struct transfer *t, const struct http_url *url,
			    const struct op *op, struct error **errp);

/*
 * http_exchange.c: one hop on the caller's thread. @ret gets status, headers
 * and body; `followed` answers have theirs thrown away. on_head is not called
 * for them.
 */
struct hop {
	const struct http_request *rq;
	const struct http_url *url;
	bool with_authorization;
	bool with_cert;
	enum address_class reach;
	int (*on_head)(void *ctx, const struct http_response *head,
		       struct error **errp);
	void *ctx;
	const struct op *op;
};
enum attempt http_exchange(struct http_client *c, const struct hop *hop,
			   struct http_response *ret, enum address_class *peer,
			   struct error **errp);
/* http_compose.c. Whether each field of the request is one: a line break in a
 * token, wherever that is from, would begin another. */
bool http_fields_fit(const struct http_request *rq);
/* Consumes @take_tls. */
struct transfer *http_compose(struct http_client *c, const struct hop *hop,
			      struct http_tls **take_tls);
/* "https host 443", heap: what shares slots and pauses. */
char *http_origin(const struct http_url *u);
/* A 301, 302, 303, 307 or 308 that the request wants followed. */
bool http_is_followed(const struct http_request *rq,
		      const struct http_response *r);

#endif
