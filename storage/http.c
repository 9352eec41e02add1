/*
 * The client and its thread.
 *
 * Each round of the thread: take in what was submitted, end what was
 * abandoned, resume what can go on, start what has a free slot, let libcurl
 * work, hand back what is done, sleep. http_client_wake() cuts the sleep short.
 */
#include "storage/http.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/thread.h"
#include "storage/http_internal.h"

#define PER_HOST_DEFAULT 8
#define IDLE_CONNECTIONS 64L
#define POLL_MS          1000

static char *dup_or_null(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

int http_client_new(const struct http_client_options *o,
		    struct http_client **ret, struct error **errp)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct http_proxies proxies = {0};
	struct http_client *c;
	int r;

	if (o->key_file && !o->cert_file)
		return error_set(errp, EINVAL,
				 "a key file needs a certificate file");
	r = http_proxies_load(&proxies, errp);
	if (r < 0)
		return r;
	pthread_once(&once, http_memory_init);
	c = xcalloc(1, sizeof(*c));
	c->times = o->times;
	c->ca_file = dup_or_null(o->ca_file);
	c->cert_file = dup_or_null(o->cert_file);
	c->key_file = dup_or_null(o->key_file);
	for (const char *const *s = o->cert_roots; s && *s; s++)
		strv_append(&c->cert_roots, xstrdup(*s));
	c->user_agent =
		xstrdup(o->user_agent ? o->user_agent : "mops/" MOPS_VERSION);
	c->per_host = o->per_host ? o->per_host : PER_HOST_DEFAULT;
	c->fixed_addresses = o->fixed_addresses;
	c->proxies = proxies;
	mutex_init(&c->lock, LOCK_HTTP);
	rate_limit_init(&c->rate, o->limit_rate);
	*ret = c;
	return 0;
}

char *http_client_proxy(const struct http_client *c, const struct http_url *url)
{
	const char *p = http_proxy_for(&c->proxies, url);
	const char *scheme = p ? strstr(p, "://") : NULL;
	const char *login = p ? strrchr(p, '@') : NULL;

	if (!p)
		return NULL;
	p = login ? login + 1 : scheme ? scheme + 3 : p;
	return xstrndup(p, strcspn(p, "/"));
}

static uintptr_t slots_used(struct http_client *c, const char *origin)
{
	return (uintptr_t)map_get_str(&c->slots, origin);
}

static void slots_set(struct http_client *c, const char *origin, uintptr_t n)
{
	if (n)
		map_put_str(&c->slots, origin, (void *)n);
	else
		map_del(&c->slots, origin, strlen(origin));
}

/* Returns false when the client is to end. */
static bool take_incoming(struct http_client *c)
{
	struct transfer *in, *oldest_first = NULL;
	struct transfer **tail = &c->waiting;
	bool stop;

	mutex_lock(&c->lock);
	in = steal_ptr(&c->incoming);
	stop = c->stop;
	mutex_unlock(&c->lock);
	while (in) {
		struct transfer *t = in;

		in = t->next;
		t->next = oldest_first;
		oldest_first = t;
	}
	while (*tail)
		tail = &(*tail)->next;
	*tail = oldest_first;
	return !stop;
}

static void drop(struct transfer **link, CURLcode result)
{
	struct transfer *t = *link;

	*link = t->next;
	transfer_finish(t, result);
	transfer_unref(t);
}

static void drop_running(struct http_client *c, struct transfer **link,
			 CURLcode result)
{
	const char *origin = (*link)->rq.origin;

	slots_set(c, origin, slots_used(c, origin) - 1);
	drop(link, result);
}

/* Transfers whose callers have left. */
static void drop_abandoned(struct http_client *c)
{
	for (struct transfer **link = &c->waiting; *link;) {
		if ((*link)->abandoned)
			drop(link, CURLE_ABORTED_BY_CALLBACK);
		else
			link = &(*link)->next;
	}
	for (struct transfer **link = &c->running; *link;) {
		if ((*link)->abandoned)
			drop_running(c, link, CURLE_ABORTED_BY_CALLBACK);
		else
			link = &(*link)->next;
	}
}

static void resume_paused(struct http_client *c)
{
	bool rate_ok = rate_limit_wait_ms(&c->rate) == 0;

	for (struct transfer *t = c->running; t; t = t->next) {
		bool resume = atomic_exchange(&t->want_resume, false);

		if (t->rate_paused && rate_ok) {
			t->rate_paused = false;
			t->throttled = false;
			resume = true;
		}
		if (resume && t->easy)
			curl_easy_pause(t->easy, CURLPAUSE_CONT);
	}
}

static void start_waiting(struct http_client *c)
{
	for (struct transfer **link = &c->waiting; *link;) {
		struct transfer *t = *link;
		uintptr_t used = slots_used(c, t->rq.origin);

		if (used >= c->per_host) {
			link = &t->next;
			continue;
		}
		*link = t->next;
		slots_set(c, t->rq.origin, used + 1);
		t->next = c->running;
		c->running = t;
		transfer_start(t);
	}
}

static void hand_back(struct http_client *c, struct transfer *t, CURLcode r)
{
	for (struct transfer **link = &c->running; *link; link = &(*link)->next)
		if (*link == t) {
			drop_running(c, link, r);
			return;
		}
	assert(!"a finished transfer runs");
}

/* Returns whether a slot became free. */
static bool reap(struct http_client *c)
{
	bool any = false;
	CURLMsg *m;
	int left;

	/* One that could not be started is done without a message. */
	for (struct transfer **link = &c->running; *link;) {
		struct transfer *t = *link;

		if (t->easy) {
			link = &t->next;
			continue;
		}
		slots_set(c, t->rq.origin, slots_used(c, t->rq.origin) - 1);
		*link = t->next;
		transfer_unref(t);
		any = true;
	}
	while ((m = curl_multi_info_read(c->multi, &left))) {
		struct transfer *t = NULL;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &t);
		hand_back(c, t, m->data.result);
		any = true;
	}
	return any;
}

static int sleep_ms(struct http_client *c)
{
	int64_t wait = rate_limit_wait_ms(&c->rate);

	return wait ? (int)MIN(wait, POLL_MS) : POLL_MS;
}

static void *client_main(void *arg)
{
	struct http_client *c = arg;
	int running;

	while (take_incoming(c)) {
		bool again;

		drop_abandoned(c);
		resume_paused(c);
		start_waiting(c);
		curl_multi_perform(c->multi, &running);
		again = reap(c) && c->waiting;
		curl_multi_poll(c->multi, NULL, 0, again ? 0 : sleep_ms(c),
				NULL);
	}
	drop_abandoned(c);
	assert(!c->running && !c->waiting);
	return NULL;
}

static int start_locked(struct http_client *c) REQUIRES(&c->lock)
{
	int r;

	if (c->started)
		return 0;
	c->multi = curl_multi_init();
	c->share = curl_share_init();
	if (!c->multi || !c->share)
		return ENOMEM;
	curl_share_setopt(c->share, CURLSHOPT_SHARE,
			  CURL_LOCK_DATA_SSL_SESSION);
	/* One TCP flow each: parallel ranges exist to use several. */
	curl_multi_setopt(c->multi, CURLMOPT_PIPELINING,
			  (long)CURLPIPE_NOTHING);
	curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS);
	r = -thread_start(&c->thread, "mops-http", client_main, c);
	c->started = r == 0;
	return r;
}

int http_client_submit(struct http_client *c, struct transfer *t,
		       struct error **errp)
{
	int r;

	mutex_lock(&c->lock);
	r = start_locked(c);
	if (r == 0) {
		atomic_fetch_add(&t->refs, 1);
		t->next = c->incoming;
		c->incoming = t;
	}
	mutex_unlock(&c->lock);
	if (r)
		return error_set_errno(errp, r, "starting the HTTP thread");
	curl_multi_wakeup(c->multi);
	return 0;
}

void http_client_wake(struct http_client *c)
{
	curl_multi_wakeup(c->multi);
}

void http_client_free(struct http_client *c)
{
	if (!c)
		return;
	if (c->started) {
		mutex_lock(&c->lock);
		c->stop = true;
		mutex_unlock(&c->lock);
		curl_multi_wakeup(c->multi);
		pthread_join(c->thread, NULL);
	}
	curl_multi_cleanup(c->multi);
	curl_share_cleanup(c->share);
	http_pause_release(c);
	http_tls_release(c);
	map_release(&c->slots);
	mutex_destroy(&c->lock);
	free(c->ca_file);
	free(c->cert_file);
	free(c->key_file);
	strv_free(c->cert_roots);
	http_proxies_release(&c->proxies);
	free(c->user_agent);
	free(c);
}
