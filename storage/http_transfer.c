/*
 * One exchange, driven by libcurl on the client's thread.
 *
 *   state     who holds it             leaves by
 *   waiting   client's list `waiting`  a free slot of its host
 *   running   client's list `running`  libcurl's result, or abandoned
 *   done      the caller               transfer_unref()
 *
 * Callbacks run on the client's thread and never block: a full `down` ring or
 * an empty `up` ring pauses that direction until the caller sets want_resume.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/secret.h"
#include "storage/http_internal.h"

#define DOWN_RING    (2u << 20)
#define DOWN_SMALL   (64u << 10) /* for answers that say they are small */
#define UP_RING      (1u << 20)
#define CURL_BUFFER  (256L << 10)
#define CURL_BUFFER1 (16L << 10) /* finer steps under a rate limit */

static const char *const method_names[] = {
	[HTTP_GET] = "GET", [HTTP_HEAD] = "HEAD",   [HTTP_POST] = "POST",
	[HTTP_PUT] = "PUT", [HTTP_PATCH] = "PATCH", [HTTP_DELETE] = "DELETE",
};

static void request_release(struct transfer_request *rq)
{
	for (struct curl_slist *l = rq->fields; l; l = l->next)
		explicit_bzero(l->data, strlen(l->data));
	curl_slist_free_all(rq->fields);
	wipe_str(&rq->url); /* a signature may be in its query */
	free(rq->origin);
	http_tls_unref(rq->tls);
	*rq = (struct transfer_request){0};
}

struct transfer *transfer_new(struct http_client *c,
			      struct transfer_request *take_rq)
{
	struct transfer *t = xcalloc(1, sizeof(*t));

	t->refs = 1;
	t->client = c;
	t->rq = *take_rq;
	*take_rq = (struct transfer_request){0};
	mutex_init(&t->lock, LOCK_TRANSFER);
	cond_init(&t->cond);
	return t;
}

void transfer_unref(struct transfer *t)
{
	if (!t || atomic_fetch_sub(&t->refs, 1) > 1)
		return;
	assert(!t->easy);
	request_release(&t->rq);
	http_headers_release(&t->head);
	/* Token requests and their answers are small. */
	wipe_free(t->down.buf, MIN(t->down.cap, (size_t)DOWN_SMALL));
	wipe_free(t->up.buf, MIN(t->up.cap, (size_t)DOWN_SMALL));
	free(t->message);
	cond_destroy(&t->cond);
	mutex_destroy(&t->lock);
	free(t);
}

/* Remember why the transfer is about to be broken off; the first cause wins. */
static void refuse(struct transfer *t, enum attempt as, const char *why)
{
	mutex_lock(&t->lock);
	if (!t->refused) {
		t->refused = why;
		t->refused_as = as;
	}
	mutex_unlock(&t->lock);
}

static bool may_reach(struct transfer *t, enum address_class class)
{
	if (t->client->fixed_addresses ||
	    (class != ADDRESS_NEVER && class <= t->rq.reach))
		return true;
	refuse(t, ATTEMPT_ADDRESS,
	       class == ADDRESS_NEVER
		       ? "it is at an address that is never contacted"
		       : "it is at an address of a private network");
	return false;
}

static curl_socket_t on_socket(void *arg, curlsocktype purpose,
			       struct curl_sockaddr *a)
{
	struct transfer *t = arg;

	/* The user named the proxy. */
	if (!t->rq.proxy && !may_reach(t, address_class(&a->addr)))
		return CURL_SOCKET_BAD;
	return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* A connection that another transfer opened was judged by its rules, not by
 * ours: look again before anything is sent. */
static int on_connected(void *arg, char *peer_ip, char *local_ip, int peer_port,
			int local_port)
{
	struct transfer *t = arg;
	enum address_class class;

	if (t->rq.proxy)
		class = t->rq.behind;
	else if (!address_class_literal(peer_ip, &class))
		class = ADDRESS_NEVER;
	if (!may_reach(t, class))
		return CURL_PREREQFUNC_ABORT;
	mutex_lock(&t->lock);
	t->connected = true;
	t->peer = class;
	cond_signal(&t->cond);
	mutex_unlock(&t->lock);
	return CURL_PREREQFUNC_OK;
}

static void head_ends_locked(struct transfer *t) REQUIRES(&t->lock)
{
	long status = 0;

	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status < 200) {
		http_headers_release(&t->head); /* 1xx: the real one follows */
		return;
	}
	t->status = status;
	t->head_done = true;
	cond_signal(&t->cond);
}

static void head_line_locked(struct transfer *t, const char *p, size_t n)
	REQUIRES(&t->lock)
{
	while (n && (p[n - 1] == '\n' || p[n - 1] == '\r'))
		n--;
	if (t->head_done)
		return; /* a trailer */
	if (!n)
		head_ends_locked(t);
	else if (n >= 5 && strncmp(p, "HTTP/", 5) == 0)
		http_headers_release(&t->head);
	else
		http_headers_add(&t->head, p, n);
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	bool flood;

	mutex_lock(&t->lock);
	t->head_bytes += n;
	flood = t->head_bytes > HTTP_HEADERS_MAX;
	if (!flood)
		head_line_locked(t, p, n);
	mutex_unlock(&t->lock);
	if (!flood)
		return n;
	refuse(t, ATTEMPT_PROTOCOL, "its headers are larger than 64 KiB");
	return 0;
}

/* Our own limit for the whole process holds this direction back. */
static bool throttle(struct transfer *t, size_t n)
{
	if (rate_limit_take(&t->client->rate, n))
		return false;
	t->rate_paused = true;
	t->throttled = true;
	return true;
}

static bool make_down_ring_locked(struct transfer *t) REQUIRES(&t->lock)
{
	const char *s =
		http_header_find(t->head.v, t->head.n, "content-length");
	uint64_t len;

	t->down.cap = DOWN_RING;
	if (s && http_parse_length(s, &len) && len <= DOWN_SMALL)
		t->down.cap = DOWN_SMALL;
	t->down.buf = malloc(t->down.cap);
	return t->down.buf != NULL;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	size_t ret = n;

	mutex_lock(&t->lock);
	if (!t->down.buf && !make_down_ring_locked(t)) {
		ret = 0;
	} else if (n > ring_room(&t->down)) {
		t->down_paused = true;
		ret = n > t->down.cap ? 0 : CURL_WRITEFUNC_PAUSE;
	} else if (throttle(t, n)) {
		ret = CURL_WRITEFUNC_PAUSE;
	} else {
		ring_put(&t->down, p, n);
	}
	cond_signal(&t->cond);
	mutex_unlock(&t->lock);
	return ret;
}

static size_t on_upload(char *p, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	size_t got;

	if (throttle(t, MIN(size * n, (size_t)CURL_BUFFER1)))
		return CURL_READFUNC_PAUSE;
	mutex_lock(&t->lock);
	got = t->up.buf ? ring_take(&t->up, p, size * n) : 0;
	if (!got && t->up_next < t->rq.body_size) {
		t->up_paused = true;
		got = CURL_READFUNC_PAUSE;
	} else if (t->up_next == t->rq.body_size && !t->up.len) {
		t->sent = true;
	}
	cond_signal(&t->cond);
	mutex_unlock(&t->lock);
	return got;
}

/* A reused connection turned out to be dead: libcurl starts over. */
static int on_rewind(void *arg, curl_off_t off, int origin)
{
	struct transfer *t = arg;

	if (t->rq.body_once || origin != SEEK_SET || off < 0 ||
	    (uint64_t)off > t->rq.body_size)
		return CURL_SEEKFUNC_FAIL;
	mutex_lock(&t->lock);
	t->up.pos = t->up.len = 0;
	t->up_next = (uint64_t)off;
	t->up_rewinds++;
	t->sent = false;
	cond_signal(&t->cond);
	mutex_unlock(&t->lock);
	return CURL_SEEKFUNC_OK;
}

static void set_method(CURL *e, const struct transfer_request *rq)
{
	if (rq->method == HTTP_HEAD) {
		curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
		return;
	}
	/* As an upload even when empty: that sends Content-Length: 0. */
	if (rq->has_body || rq->method == HTTP_POST || rq->method == HTTP_PUT ||
	    rq->method == HTTP_PATCH) {
		curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE,
				 (curl_off_t)rq->body_size);
	}
	curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, method_names[rq->method]);
}

/* The callbacks take over all that libcurl would decide by itself. */
static void set_callbacks(CURL *e, struct transfer *t)
{
	curl_easy_setopt(e, CURLOPT_PRIVATE, t);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->errbuf);
	curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_socket);
	curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, t);
	curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_connected);
	curl_easy_setopt(e, CURLOPT_PREREQDATA, t);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(e, CURLOPT_READFUNCTION, on_upload);
	curl_easy_setopt(e, CURLOPT_READDATA, t);
	curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, on_rewind);
	curl_easy_setopt(e, CURLOPT_SEEKDATA, t);
}

static void set_trust(CURL *e, const struct http_tls *tls)
{
	struct curl_blob blob = {
		.data = tls->ca,
		.len = tls->ca_len,
		.flags = CURL_BLOB_NOCOPY, /* the transfer keeps it */
	};

	if (tls->ca)
		curl_easy_setopt(e, CURLOPT_CAINFO_BLOB, &blob);
	if (tls->ca_alone)
		curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
}

/* What certs.d has for the host is for it and goes before the setting. */
static void set_tls(CURL *e, const struct transfer *t)
{
	const struct http_client *c = t->client;
	const struct http_tls *tls = t->rq.tls;
	const char *cert, *key;

	if (!tls)
		return;
	curl_easy_setopt(e, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
	set_trust(e, tls);
	cert = tls->cert_file ? tls->cert_file : c->cert_file;
	key = tls->cert_file ? tls->key_file : c->key_file;
	if (!cert || !(tls->cert_file || t->rq.with_cert))
		return;
	curl_easy_setopt(e, CURLOPT_SSLCERT, cert);
	curl_easy_setopt(e, CURLOPT_SSLKEY, key ? key : cert);
}

static CURLcode set_connection(CURL *e, const struct transfer *t)
{
	const struct http_client *c = t->client;

	curl_easy_setopt(e, CURLOPT_SHARE, c->share);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	/* Without it, ending a transfer waits for its name lookup. */
	curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR,
			 t->rq.tls ? "https" : "http");
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	/* Not as libcurl would find them. */
	curl_easy_setopt(e, CURLOPT_PROXY, t->rq.proxy ? t->rq.proxy : "");
	curl_easy_setopt(e, CURLOPT_NOPROXY, "");
	curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(e, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE);
	curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS,
			 (long)MIN(c->times.connect_ms, 86400000));
	curl_easy_setopt(e, CURLOPT_BUFFERSIZE,
			 c->rate.per_second ? CURL_BUFFER1 : CURL_BUFFER);
	curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE,
			 c->rate.per_second ? CURL_BUFFER1 : CURL_BUFFER);
	curl_easy_setopt(e, CURLOPT_USERAGENT, c->user_agent);
	curl_easy_setopt(e, CURLOPT_HTTPHEADER, t->rq.fields);
	return curl_easy_setopt(e, CURLOPT_URL, t->rq.url);
}

static bool make_up_ring(struct transfer *t)
{
	char *buf;
	size_t cap;

	if (!t->rq.has_body || !t->rq.body_size)
		return true;
	cap = (size_t)MIN(t->rq.body_size, (uint64_t)UP_RING);
	buf = malloc(cap);
	mutex_lock(&t->lock);
	t->up = (struct ring){.buf = buf, .cap = cap};
	mutex_unlock(&t->lock);
	return buf != NULL;
}

void transfer_start(struct transfer *t)
{
	CURLcode r = CURLE_OUT_OF_MEMORY;

	mutex_lock(&t->lock);
	t->started = true;
	cond_signal(&t->cond);
	mutex_unlock(&t->lock);
	t->easy = curl_easy_init();
	if (t->easy && make_up_ring(t)) {
		set_callbacks(t->easy, t);
		set_method(t->easy, &t->rq);
		set_tls(t->easy, t);
		r = set_connection(t->easy, t);
	}
	if (r == CURLE_OK &&
	    curl_multi_add_handle(t->client->multi, t->easy) != CURLM_OK)
		r = CURLE_OUT_OF_MEMORY;
	if (r != CURLE_OK)
		transfer_finish(t, r);
}

void transfer_finish(struct transfer *t, CURLcode result)
{
	long os_errno = 0, proxy_status = 0, connects = 1;

	if (t->easy) {
		curl_easy_getinfo(t->easy, CURLINFO_HTTP_CONNECTCODE,
				  &proxy_status);
		curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &os_errno);
		curl_easy_getinfo(t->easy, CURLINFO_NUM_CONNECTS, &connects);
		curl_multi_remove_handle(t->client->multi, t->easy);
		curl_easy_cleanup(t->easy);
		t->easy = NULL;
	}
	mutex_lock(&t->lock);
	t->result = result;
	t->os_errno = os_errno;
	t->proxy_status = proxy_status;
	t->reused = connects == 0;
	if (t->errbuf[0])
		t->message = xstrdup(t->errbuf);
	t->done = true;
	cond_signal(&t->cond);
	mutex_unlock(&t->lock);
}
