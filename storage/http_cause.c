/*
 * From what libcurl says to what the retry policy wants to know.
 */
#include <errno.h>
#include <netdb.h>
#include <string.h>

#include "base/thread.h"
#include "storage/http_internal.h"

#define PROBE_MAX_MS   3000
#define PROBE_SLICE_MS 20

static const struct {
	CURLcode code;
	enum attempt attempt;
} causes[] = {
	{CURLE_COULDNT_RESOLVE_HOST, ATTEMPT_DNS_TEMPORARY},
	{CURLE_COULDNT_RESOLVE_PROXY, ATTEMPT_CONNECT},
	{CURLE_COULDNT_CONNECT, ATTEMPT_CONNECT},
	{CURLE_OPERATION_TIMEDOUT, ATTEMPT_CONNECT},
	{CURLE_SSL_CONNECT_ERROR, ATTEMPT_TLS},
	{CURLE_PEER_FAILED_VERIFICATION, ATTEMPT_TLS},
	{CURLE_SSL_CERTPROBLEM, ATTEMPT_TLS},
	{CURLE_SSL_CIPHER, ATTEMPT_TLS},
	{CURLE_SSL_CACERT_BADFILE, ATTEMPT_TLS},
	{CURLE_SSL_ISSUER_ERROR, ATTEMPT_TLS},
	{CURLE_SSL_INVALIDCERTSTATUS, ATTEMPT_TLS},
	{CURLE_SSL_CLIENTCERT, ATTEMPT_TLS},
	{CURLE_WEIRD_SERVER_REPLY, ATTEMPT_PROTOCOL},
	{CURLE_UNSUPPORTED_PROTOCOL, ATTEMPT_PROTOCOL},
	{CURLE_BAD_CONTENT_ENCODING, ATTEMPT_PROTOCOL},
	{CURLE_URL_MALFORMAT, ATTEMPT_PROTOCOL},
	{CURLE_OUT_OF_MEMORY, ATTEMPT_LOCAL},
};

/* A name lookup on a thread of its own: libcurl does not tell an unknown name
 * from a server that cannot be asked now, and getaddrinfo() cannot be stopped.
 * Whoever of the two leaves last frees it. */
struct probe {
	atomic_uint refs;
	atomic_bool done;
	int result;
	char host[];
};

static void probe_unref(struct probe *p)
{
	if (atomic_fetch_sub(&p->refs, 1) == 1)
		free(p);
}

static void *probe_main(void *arg)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *ai = NULL;
	struct probe *p = arg;

	p->result = getaddrinfo(p->host, NULL, &hints, &ai);
	if (ai)
		freeaddrinfo(ai);
	atomic_store(&p->done, true);
	probe_unref(p);
	return NULL;
}

static struct probe *probe_start(const char *host)
{
	size_t n = strlen(host) + 1;
	struct probe *p = xcalloc(1, sizeof(*p) + n);
	pthread_t thread;

	p->refs = 2;
	memcpy(p->host, host, n);
	if (thread_start(&thread, "mops-resolve", probe_main, p) == 0) {
		pthread_detach(thread);
		return p;
	}
	free(p);
	return NULL;
}

enum attempt http_look_up(const char *host, const struct op *op)
{
	int64_t end = time_deadline_ms(PROBE_MAX_MS);
	enum attempt a = ATTEMPT_DNS_TEMPORARY;
	struct probe *p = probe_start(host);
	enum attempt waited = ATTEMPT_OK;

	if (!p)
		return a;
	while (!p->done && time_mono_ns() < end && waited == ATTEMPT_OK)
		waited = retry_wait(PROBE_SLICE_MS, op);
	if (p->done && (p->result == EAI_NONAME || p->result == EAI_NODATA))
		a = ATTEMPT_DNS_UNKNOWN;
	else if (p->done && p->result == 0)
		a = ATTEMPT_OK;
	probe_unref(p);
	return waited == ATTEMPT_OK ? a : waited;
}

/* A handshake cut short is a lost connection, not a verdict on the peer. */
static bool handshake_was_cut(const struct transfer *t)
{
	if (t->result != CURLE_SSL_CONNECT_ERROR)
		return false;
	return t->os_errno == ECONNRESET || t->os_errno == EPIPE ||
	       (t->message && (strstr(t->message, "SSL_ERROR_SYSCALL") ||
			       strstr(t->message, "unexpected eof")));
}

/* What a proxy says instead of connecting us. */
static bool proxy_refused(const struct transfer *t, enum attempt *ret)
{
	if (t->proxy_status < 300)
		return false;
	*ret = attempt_of_status(t->proxy_status);
	if (*ret != ATTEMPT_BUSY)
		*ret = ATTEMPT_REJECTED;
	return true;
}

/* The other side refused ours, which TLS 1.3 says after the handshake. */
static bool was_alerted(const struct transfer *t)
{
	return t->message && strstr(t->message, "SSL") &&
	       strstr(t->message, " alert ");
}

/* What stands where an answer should, on a connection that served another one
 * before, may be bytes that that one had too many. A fresh one tells. */
static bool may_be_leftovers(const struct transfer *t)
{
	return t->reused && (t->result == CURLE_UNSUPPORTED_PROTOCOL ||
			     t->result == CURLE_WEIRD_SERVER_REPLY);
}

/* Everything else broke a connection that was there. */
static enum attempt cause_of(const struct transfer *t)
{
	enum attempt a;

	if (proxy_refused(t, &a))
		return a;
	if (handshake_was_cut(t))
		return ATTEMPT_CONNECT;
	if (was_alerted(t))
		return ATTEMPT_TLS;
	if (may_be_leftovers(t))
		return ATTEMPT_RESET;
	for (size_t i = 0; i < ARRAY_SIZE(causes); i++)
		if (causes[i].code == t->result)
			return causes[i].attempt;
	return ATTEMPT_RESET;
}

enum attempt transfer_cause(struct transfer *t, const struct http_url *url,
			    const struct op *op, struct error **errp)
{
	cleanup_free char *shown = http_url_redacted(url);
	enum attempt a;

	if (t->refused) {
		error_set(errp, retry_rule(t->refused_as)->code, "'%s': %s",
			  shown, t->refused);
		return t->refused_as;
	}
	a = cause_of(t);
	if (a == ATTEMPT_DNS_TEMPORARY)
		a = http_look_up(url->host, op);
	if (a == ATTEMPT_OK) /* found by now: as good as not yet */
		a = ATTEMPT_DNS_TEMPORARY;
	error_set(errp, retry_rule(a)->code, "'%s': %s (%s)", shown,
		  retry_rule(a)->what,
		  t->message ? t->message : curl_easy_strerror(t->result));
	return a;
}
