/*
 * The HTTP client against a server that misbehaves on request.
 */
#include "storage/http.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/strbuf.h"
#include "tests/lib/server.h"
#include "tests/lib/tap.h"

#define SECRET "Basic Y2FuYXJ5OmNhbmFyeQ=="

static struct server server;
static struct http_client *client;
static int port_a, port_b, port_c, port_log;

static const struct retry_times fast = {
	.connect_ms = 2000,
	.stall_ms = 400,
	.io_ms = 3000,
};

static struct http_client *new_client(const struct http_client_options *o)
{
	struct http_client *c = NULL;

	if (http_client_new(o, &c, NULL) < 0)
		abort();
	return c;
}

/* One request and all that came of it. */
struct call {
	struct http_request rq;
	struct op op;
	struct sink_mem body;
	struct http_response r;
	enum attempt a;
	struct error *err;
	int64_t ms;
};

static struct http_url url_of(int port, const char *path)
{
	cleanup_free char *s = xasprintf("http://127.0.0.1:%d%s", port, path);
	struct http_url u = {0};

	if (http_url_parse(s, &u, NULL) < 0)
		abort();
	return u;
}

static struct call call_to(enum http_method m, int port, const char *path)
{
	struct call c = {
		.rq =
			{
				.method = m,
				.url = url_of(port, path),
				.max_body = 16 << 20,
				.follow = true,
				.user_host = true,
			},
		.op = OP_INIT,
	};

	sink_mem_init(&c.body, 16 << 20);
	return c;
}

static void make(struct call *c)
{
	int64_t began = time_mono_ns();

	c->a = http_request(client, &c->rq, &c->r, NULL, NULL, &c->op, &c->err);
	c->ms = (time_mono_ns() - began) / NS_PER_MS;
}

static void end(struct call *c)
{
	http_response_release(&c->r);
	http_url_release(&c->rq.url);
	free(c->body.buf);
	error_free(c->err);
}

static struct call get(const char *path)
{
	struct call c = call_to(HTTP_GET, port_a, path);

	make(&c);
	return c;
}

static unsigned char pattern(uint64_t i)
{
	return (unsigned char)(i % 65536 * 7 + (i % 65536 >> 8) * 13);
}

static bool is_pattern(const char *p, size_t n, uint64_t first)
{
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)p[i] != pattern(first + i))
			return false;
	return true;
}

/* What the server saw since the last look, as JSON text. */
static char *server_log(void)
{
	struct call c = call_to(HTTP_GET, port_log, "/");
	char *text;

	make(&c);
	text = xstrdup(c.r.body ? c.r.body : "");
	end(&c);
	return text;
}

static unsigned count_in(const char *text, const char *what)
{
	unsigned n = 0;

	while ((text = strstr(text, what))) {
		n++;
		text += strlen(what);
	}
	return n;
}

static void test_bodies(void)
{
	struct call c = get("/data?n=3000000");

	is_int(c.a, ATTEMPT_OK, "a body in memory arrives");
	is_int(c.r.status, 200, "with its status");
	ok(c.r.body_len == 3000000 && is_pattern(c.r.body, c.r.body_len, 0),
	   "byte for byte");
	is_str(http_response_header(&c.r, "content-length"), "3000000",
	       "and its headers");
	ok(!c.r.redirected && c.r.peer == ADDRESS_LOOPBACK,
	   "the peer is known");
	end(&c);

	c = call_to(HTTP_GET, port_a, "/data?n=9000000");
	c.rq.sink = &c.body.sink;
	make(&c);
	ok(c.a == ATTEMPT_OK && c.body.len == 9000000 &&
		   is_pattern(c.body.buf, c.body.len, 0),
	   "a body in a sink arrives");
	is_int(c.r.sink_bytes, 9000000, "and is counted");
	end(&c);

	c = get("/nolength?n=100000");
	ok(c.a == ATTEMPT_OK && c.r.body_len == 100000,
	   "a body that ends with the connection arrives");
	end(&c);

	c = call_to(HTTP_HEAD, port_a, "/data?n=5");
	make(&c);
	ok(c.a == ATTEMPT_OK && c.r.status == 200 && c.r.body_len == 0,
	   "HEAD has no body");
	end(&c);
}

static void test_request_headers(void)
{
	static const char *const headers[] = {"Range: bytes=10-19", "X-Mine: 1",
					      NULL};
	struct call c = call_to(HTTP_GET, port_a, "/data?n=1000");
	cleanup_free char *log = NULL;

	free(server_log());
	c.rq.headers = headers;
	c.rq.authorization = SECRET;
	make(&c);
	log = server_log();
	ok(c.r.status == 206 && c.r.body_len == 10 &&
		   is_pattern(c.r.body, 10, 10),
	   "the caller's headers are sent");
	ok(strstr(log, "[\"accept-encoding\", \"identity\"]") != NULL,
	   "no encoding is asked for");
	ok(strstr(log, SECRET) != NULL, "Authorization goes to the origin");
	ok(strstr(log, "\"user-agent\", \"mops/") != NULL,
	   "the client says its name");
	end(&c);
}

static void test_broken_bodies(void)
{
	struct call c = get("/short?n=1000&send=100");

	is_int(c.a, ATTEMPT_RESET, "a clean but early end is a lost one");
	ok(c.err != NULL, "with an error object");
	end(&c);

	c = get("/reset?n=1000&send=100");
	is_int(c.a, ATTEMPT_RESET, "so is a reset");
	end(&c);

	c = get("/stall?n=1000&send=100");
	is_int(c.a, ATTEMPT_STALL, "silence in a body is a stall");
	ok(c.ms >= 350 && c.ms < 1500, "after the time that was set");
	end(&c);

	c = get("/trickle");
	is_int(c.a, ATTEMPT_STALL, "a trickle is a stall too");
	ok(c.ms < 2000, "found soon");
	end(&c);

	c = get("/silent");
	is_int(c.a, ATTEMPT_STALL, "no answer is a stall");
	end(&c);

	c = get("/http09");
	is_int(c.a, ATTEMPT_PROTOCOL, "an answer without a head is refused");
	end(&c);

	c = get("/garbage");
	is_int(c.a, ATTEMPT_PROTOCOL, "so are bytes that are not HTTP");
	end(&c);
}

static void test_limits(void)
{
	struct call c = get("/headers?kb=32");

	is_int(c.a, ATTEMPT_OK, "a head of 32 KiB is fine");
	end(&c);

	c = get("/headers?kb=70");
	is_int(c.a, ATTEMPT_PROTOCOL, "one of 70 KiB is not");
	end(&c);

	c = get("/infos");
	is_int(c.a, ATTEMPT_PROTOCOL, "1xx answers without end are not");
	end(&c);

	c = get("/gzip");
	is_int(c.a, ATTEMPT_PROTOCOL, "an encoded body is refused");
	end(&c);

	c = call_to(HTTP_GET, port_a, "/data?n=1001");
	c.rq.max_body = 1000;
	make(&c);
	is_int(c.a, ATTEMPT_TOO_BIG, "a body that says it is too large");
	end(&c);

	c = call_to(HTTP_GET, port_a, "/nolength?n=1001");
	c.rq.max_body = 1000;
	c.rq.sink = &c.body.sink;
	make(&c);
	is_int(c.a, ATTEMPT_TOO_BIG, "a body that turns out too large");
	end(&c);

	c = get("/endless?code=500");
	is_int(c.a, ATTEMPT_OK, "an endless error is an answer");
	ok(c.r.status == 500 && c.r.body_len == 65536, "cut at 64 KiB");
	end(&c);

	c = get("/endless?code=200");
	is_int(c.a, ATTEMPT_TOO_BIG, "an endless success is not");
	end(&c);
}

static void test_error_answers(void)
{
	struct call c = get("/notsatisfiable");

	ok(c.a == ATTEMPT_OK && c.r.status == 416,
	   "416 with a length that lies is still 416");
	ok(c.r.body_len == 33, "with what came of its body");
	end(&c);

	c = get("/stall?code=404&n=1000&send=10");
	ok(c.a == ATTEMPT_OK && c.r.status == 404,
	   "404 that stalls in its body is still 404");
	end(&c);

	c = get("/reset?code=403&n=1000&send=10");
	ok(c.a == ATTEMPT_OK && c.r.status == 403,
	   "403 that breaks off is still 403");
	end(&c);
}

static int refuse_head(void *ctx, const struct http_response *head,
		       struct error **errp)
{
	return error_set(errp, ESTALE, "not this one");
}

static int failing_write(struct sink *s, const void *buf, size_t n,
			 struct error **errp)
{
	return error_set(errp, ENOSPC, "the disk is full");
}

static int failing_pread(struct feed *f, void *buf, size_t n, uint64_t off,
			 struct error **errp)
{
	return error_set(errp, EIO, "the disk is broken");
}

static void test_callers_refusals(void)
{
	struct call c = call_to(HTTP_GET, port_a, "/data?n=100000");
	struct sink sink = {.write = failing_write};
	struct feed feed = {.size = 100, .pread = failing_pread};

	c.rq.sink = &c.body.sink;
	c.a = http_request(client, &c.rq, &c.r, refuse_head, NULL, &c.op,
			   &c.err);
	ok(c.a == ATTEMPT_PROTOCOL && c.r.code == -ESTALE,
	   "on_head can end a transfer");
	is_int(c.body.len, 0, "before the sink saw anything");
	end(&c);

	c = call_to(HTTP_GET, port_a, "/data?n=100000");
	c.rq.sink = &sink;
	make(&c);
	ok(c.a == ATTEMPT_LOCAL && c.r.code == -ENOSPC,
	   "a failing sink ends it with its code");
	is_str(c.err ? c.err->message : NULL, "the disk is full",
	       "and its words");
	end(&c);

	c = call_to(HTTP_PUT, port_a, "/upload");
	c.rq.body = &feed;
	make(&c);
	ok(c.a == ATTEMPT_LOCAL && c.r.code == -EIO, "so does a feed");
	end(&c);
}

static void test_uploads(void)
{
	size_t n = 5000000;
	cleanup_free char *p = malloc(n);
	struct digest d;
	struct digest_hex hex;
	struct feed_mem feed;
	static const enum http_method methods[] = {HTTP_PUT, HTTP_POST,
						   HTTP_PATCH};

	for (size_t i = 0; i < n; i++)
		p[i] = (char)pattern(i);
	d = digest_of_buf(p, n);
	hex = digest_to_hex(&d);
	feed_mem_init(&feed, p, n);
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		struct call c = call_to(methods[i], port_a, "/upload");

		c.rq.body = &feed.feed;
		c.rq.content_type = "application/octet-stream";
		make(&c);
		ok(c.a == ATTEMPT_OK && c.r.status == 201 && c.r.body &&
			   strstr(c.r.body, hex.str),
		   "an upload arrives whole");
		end(&c);
	}
	free(server_log());
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		struct call c = call_to(methods[i], port_a, "/upload");
		cleanup_free char *log = NULL;

		make(&c);
		log = server_log();
		ok(c.a == ATTEMPT_OK && c.r.status == 201 &&
			   strstr(log, "[\"content-length\", \"0\"]"),
		   "one without a body says so");
		end(&c);
	}
	struct call c = call_to(HTTP_PUT, port_a, "/early?code=401");

	c.rq.body = &feed.feed;
	make(&c);
	ok((c.a == ATTEMPT_OK && c.r.status == 401) || c.a == ATTEMPT_RESET,
	   "an early refusal ends the upload");
	end(&c);

	c = call_to(HTTP_PUT, port_a, "/slowupload");
	c.rq.body = &feed.feed;
	make(&c);
	is_int(c.a, ATTEMPT_STALL, "a server that does not read is a stall");
	ok(c.ms < 4500, "in good time");
	end(&c);
}

/* Its bytes come after a while, when what was queued is gone. */
static int late_pread(struct feed *f, void *buf, size_t n, uint64_t off,
		      struct error **errp)
{
	struct feed_mem *m = (struct feed_mem *)f;

	time_sleep_ms(2);
	memcpy(buf, (const char *)m->p + off, n);
	return 0;
}

static void *run_uploads(void *arg)
{
	size_t n = 3000017;
	cleanup_free char *p = malloc(n);
	struct digest d;
	struct digest_hex hex;
	struct feed_mem feed;
	intptr_t good = 0;

	for (size_t i = 0; i < n; i++)
		p[i] = (char)((i * 2654435761u + (uintptr_t)arg) >> 11);
	d = digest_of_buf(p, n);
	hex = digest_to_hex(&d);
	feed_mem_init(&feed, p, n);
	feed.feed.pread = late_pread;
	for (int i = 0; i < 5; i++) {
		struct call c = call_to(HTTP_PUT, port_a, "/upload");

		c.rq.body = &feed.feed;
		make(&c);
		good += c.a == ATTEMPT_OK && c.r.body &&
			strstr(c.r.body, hex.str);
		end(&c);
	}
	return (void *)good;
}

/* Feeding and sending race on each ring. */
static void test_many_uploads(void)
{
	const struct http_client_options o = {.times = {10000, 20000, 120000}};
	struct http_client *saved = client;
	pthread_t threads[8];
	intptr_t good = 0;
	void *r;

	client = new_client(&o);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_create(&threads[i], NULL, run_uploads, (void *)i);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		pthread_join(threads[i], &r);
		good += (intptr_t)r;
	}
	is_int(good, 8 * 5, "many uploads at once arrive whole");
	http_client_free(client);
	client = saved;
}

/* A reused connection that the server has closed meanwhile. */
static void test_rewind(void)
{
	struct call c = get("/data?n=10");
	struct feed_mem feed;

	end(&c);
	feed_mem_init(&feed, "hello", 5);
	for (int i = 0; i < 5; i++) {
		c = call_to(HTTP_PUT, port_a, "/upload");
		c.rq.body = &feed.feed;
		make(&c);
		ok(c.a == ATTEMPT_OK && c.r.status == 201,
		   "an upload on a kept connection works");
		end(&c);
	}
}

/* Every chain over three origins, each redirect code, GET and HEAD. */
static void redirect_graph(const char *chain, int code, enum http_method m)
{
	int ports[] = {port_a, port_b, port_c};
	size_t n = strlen(chain);
	cleanup_free char *url = xstrdup("/data?n=64");
	struct call c;
	cleanup_free char *log = NULL;
	bool left = false, leaked = false;
	unsigned expect = 0;

	for (size_t i = n; i-- > 0;) { /* from the last hop to the first */
		cleanup_free char *full = xasprintf("http://127.0.0.1:%d%s",
						    ports[chain[i] - 'a'], url);
		cleanup_strbuf struct strbuf sb = STRBUF_INIT;

		if (i == 0)
			break;
		strbuf_addf(&sb, "/hop?code=%d&to=", code);
		uri_encode(&sb, full, strlen(full), false);
		free(url);
		url = strbuf_steal(&sb);
	}
	free(server_log());
	c = call_to(m, ports[chain[0] - 'a'], url);
	c.rq.authorization = SECRET;
	make(&c);
	log = server_log();
	for (size_t i = 0; i < n; i++) {
		left |= chain[i] != chain[0];
		expect += !left;
	}
	leaked =
		count_in(log, SECRET) != expect || count_in(log, "cookie") != 0;
	ok(c.a == ATTEMPT_OK && c.r.status == 200 && !leaked &&
		   count_in(log, "\"origin\"") == n &&
		   c.r.redirected == (n > 1),
	   "%s over %s with %d: the secret stays at home",
	   m == HTTP_HEAD ? "HEAD" : "GET", chain, code);
	end(&c);
}

static void test_redirects(void)
{
	static const char *const chains[] = {"aa",  "ab",   "aba",
					     "abc", "aabb", "acbaa"};
	static const int codes[] = {301, 302, 303, 307, 308};
	struct call c;

	for (size_t i = 0; i < ARRAY_SIZE(chains); i++)
		for (size_t j = 0; j < ARRAY_SIZE(codes); j++) {
			redirect_graph(chains[i], codes[j], HTTP_GET);
			redirect_graph(chains[i], codes[j], HTTP_HEAD);
		}

	free(server_log());
	c = get("/loop");
	is_int(c.a, ATTEMPT_ADDRESS, "a redirect loop is refused");
	cleanup_free char *log = server_log();
	is_int(count_in(log, "/loop"), 11, "after ten hops");
	end(&c);

	c = call_to(HTTP_GET, port_a, "/loop");
	c.rq.follow = false;
	make(&c);
	ok(c.a == ATTEMPT_OK && c.r.status == 302,
	   "who does not want to follow gets the redirect");
	end(&c);

	c = call_to(HTTP_POST, port_a, "/loop");
	c.rq.follow = false;
	make(&c);
	ok(c.r.status == 302 && c.a == ATTEMPT_OK, "a POST never follows");
	end(&c);
}

static void test_addresses(void)
{
	static const char *const targets[] = {
		"http%3A%2F%2F169.254.169.254%2Flatest%2Fmeta-data",
		"http%3A%2F%2F0xa9fea9fe%2F",
		"http%3A%2F%2F%5B%3A%3Affff%3A169.254.169.254%5D%2F",
		"http%3A%2F%2F%5Bfe80%3A%3A1%5D%2F",
		"http%3A%2F%2Fmetadata.google.internal%2F",
		"http%3A%2F%2F0.0.0.0%2F",
		"http%3A%2F%2F%5B%3A%3A%5D%2F",
		"file%3A%2F%2F%2Fetc%2Fpasswd",
		"gopher%3A%2F%2F127.0.0.1%2F",
		"http%3A%2F%2Fuser%3Apass%40127.0.0.1%2F",
	};
	struct call c;

	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		cleanup_free char *path = xasprintf("/hop?to=%s", targets[i]);

		c = get(path);
		ok((c.a == ATTEMPT_ADDRESS || c.a == ATTEMPT_PROTOCOL) &&
			   c.ms < 1000,
		   "a redirect to %s is refused", targets[i]);
		end(&c);
	}
	free(server_log());
	for (int class = ADDRESS_PUBLIC; class <= ADDRESS_PRIVATE; class ++) {
		cleanup_free char *log = NULL;

		c = call_to(HTTP_GET, port_a, "/data");
		c.rq.user_host = false;
		c.rq.reach = class;
		make(&c);
		is_int(c.a, ATTEMPT_ADDRESS,
		       "loopback is refused to whom it was not allowed");
		log = server_log();
		is_int(count_in(log, "\"origin\""), 0, "nothing was sent");
		end(&c);
	}
	/* The kept connection of an allowed request must not help. */
	c = get("/data");
	end(&c);
	free(server_log());
	c = call_to(HTTP_GET, port_a, "/data");
	c.rq.user_host = false;
	make(&c);
	cleanup_free char *log = server_log();
	ok(c.a == ATTEMPT_ADDRESS && count_in(log, "\"origin\"") == 0,
	   "a kept connection is judged again");
	end(&c);
	c = call_to(HTTP_GET, port_a, "/data");
	http_url_release(&c.rq.url);
	http_url_parse("http://localhost:1/", &c.rq.url, NULL);
	c.rq.user_host = false;
	make(&c);
	is_int(c.a, ATTEMPT_ADDRESS, "names are judged by their addresses");
	end(&c);
}

static void test_connecting(void)
{
	struct call c = call_to(HTTP_GET, 1, "/");

	make(&c);
	is_int(c.a, ATTEMPT_CONNECT, "a refused connection");
	end(&c);
	c = call_to(HTTP_GET, port_a, "/data");
	http_url_release(&c.rq.url);
	http_url_parse("http://no-such-host.invalid/", &c.rq.url, NULL);
	make(&c);
	ok(c.a == ATTEMPT_DNS_UNKNOWN || c.a == ATTEMPT_DNS_TEMPORARY,
	   "a host that does not exist (%s)", retry_rule(c.a)->what);
	end(&c);
	c = call_to(HTTP_GET, port_a, "/data");
	c.rq.url.tls = true;
	make(&c);
	ok(c.a == ATTEMPT_TLS || c.a == ATTEMPT_CONNECT,
	   "a server that does not speak TLS");
	end(&c);
}

static void test_busy(void)
{
	struct call c = get("/busy?key=1&times=1&after=1");
	int64_t began = time_mono_ns();

	ok(c.a == ATTEMPT_OK && c.r.status == 429, "429 is an answer");
	is_int(c.r.retry_after_ms, 1000, "with the server's wish");
	end(&c);
	c = get("/data?n=10");
	ok(c.a == ATTEMPT_BUSY && c.r.retry_after_ms > 0 &&
		   c.r.retry_after_ms <= 1001,
	   "others leave that host alone meanwhile");
	end(&c);
	c = call_to(HTTP_GET, port_b, "/data?n=10");
	make(&c);
	is_int(c.a, ATTEMPT_OK, "but not other hosts");
	end(&c);
	while (time_mono_ns() - began < 1100 * NS_PER_MS)
		time_sleep_ms(20);
	c = get("/busy?key=1&times=1");
	ok(c.a == ATTEMPT_OK && c.r.status == 200, "afterwards all is well");
	end(&c);

	c = call_to(HTTP_GET, port_c, "/busy?key=2&times=1&after=date");
	make(&c);
	ok(c.r.retry_after_ms >= 1000 && c.r.retry_after_ms <= 2000,
	   "a date is understood");
	end(&c);
}

static void *set_later(void *arg)
{
	time_sleep_ms(150);
	atomic_store((atomic_bool *)arg, true);
	return NULL;
}

static void cancelled(const char *path, enum http_method m, struct feed *feed,
		      const char *what)
{
	atomic_bool flag = false;
	struct call c = call_to(m, port_b, path);
	pthread_t thread;

	c.op.cancelled = &flag;
	c.rq.body = feed;
	pthread_create(&thread, NULL, set_later, &flag);
	make(&c);
	pthread_join(thread, NULL);
	ok(c.a == ATTEMPT_CANCELLED && c.ms >= 140 && c.ms < 250,
	   "%s can be cancelled (%lld ms)", what, (long long)c.ms);
	end(&c);
}

static void test_bounds(void)
{
	cleanup_free char *p = xcalloc(1, 8 << 20);
	struct feed_mem feed;
	struct call c;

	feed_mem_init(&feed, p, 8 << 20);
	cancelled("/silent", HTTP_GET, NULL, "waiting for an answer");
	cancelled("/stall?n=1000&send=10", HTTP_GET, NULL, "a stalled body");
	cancelled("/trickle", HTTP_GET, NULL, "a slow body");
	cancelled("/slowupload", HTTP_PUT, &feed.feed, "an upload");

	c = call_to(HTTP_GET, port_b, "/silent");
	c.op.deadline_ns = time_deadline_ms(200);
	make(&c);
	ok(c.a == ATTEMPT_DEADLINE && c.ms >= 190 && c.ms < 300,
	   "a deadline is kept (%lld ms)", (long long)c.ms);
	end(&c);

	c = call_to(HTTP_GET, port_b, "/silent");
	c.rq.idle_deadline_ns = time_deadline_ms(100);
	make(&c);
	ok(c.a == ATTEMPT_STALL && c.ms < 300, "an idle deadline as well");
	end(&c);
}

struct slow_sink {
	struct sink sink;
	int pieces;
};

static int slow_write(struct sink *s, const void *buf, size_t n,
		      struct error **errp)
{
	if (((struct slow_sink *)s)->pieces++ == 0)
		time_sleep_ms(800); /* twice the stall time */
	return 0;
}

static void *run_slow(void *arg)
{
	struct call *c = arg;

	make(c);
	return NULL;
}

static void test_slow_caller(void)
{
	struct slow_sink slow = {.sink = {.write = slow_write}};
	struct call c = call_to(HTTP_GET, port_a, "/data?n=8000000");
	struct call fast_one;
	pthread_t thread;

	c.rq.sink = &slow.sink;
	pthread_create(&thread, NULL, run_slow, &c);
	time_sleep_ms(50);
	fast_one = get("/data?n=1000000");
	ok(fast_one.a == ATTEMPT_OK && fast_one.ms < 500,
	   "a slow sink does not hold up others");
	end(&fast_one);
	pthread_join(thread, NULL);
	ok(c.a == ATTEMPT_OK && c.r.sink_bytes == 8000000,
	   "nor is it taken for a stall");
	end(&c);
}

static void *run_many(void *arg)
{
	intptr_t good = 0;

	for (int i = 0; i < 20; i++) {
		struct call c = get("/data?n=200000");

		if (c.a == ATTEMPT_OK && c.r.body_len == 200000 &&
		    is_pattern(c.r.body, c.r.body_len, 0))
			good++;
		else
			printf("# %s after %lld ms\n",
			       c.err ? c.err->message : "wrong bytes",
			       (long long)c.ms);
		end(&c);
	}
	return (void *)good;
}

static void test_many(void)
{
	const struct http_client_options o = {.times = {10000, 20000, 120000}};
	struct http_client *saved = client;
	pthread_t threads[32];
	intptr_t good = 0;
	void *r;

	client = new_client(&o); /* a loaded machine may stall for a while */
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_create(&threads[i], NULL, run_many, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		pthread_join(threads[i], &r);
		good += (intptr_t)r;
	}
	is_int(good, 32 * 20, "32 threads share the client");
	http_client_free(client);
	client = saved;
}

static void test_per_host(void)
{
	const struct http_client_options o = {.times = fast, .per_host = 1};
	struct http_client *saved = client;
	struct call c = call_to(HTTP_GET, port_a, "/stall?n=10&send=1");
	struct call second;
	pthread_t thread;

	client = new_client(&o);
	pthread_create(&thread, NULL, run_slow, &c);
	time_sleep_ms(50);
	second = get("/data?n=10");
	ok(second.a == ATTEMPT_OK && second.ms >= 250,
	   "the second transfer to a host waits for its slot");
	end(&second);
	pthread_join(thread, NULL);
	end(&c);
	http_client_free(client);
	client = saved;
}

static void test_rate(void)
{
	const struct http_client_options o = {.times = fast,
					      .limit_rate = 1000000};
	struct http_client *saved = client;
	struct feed_mem feed;
	cleanup_free char *p = xcalloc(1, 600000);
	struct call c;

	client = new_client(&o);
	c = get("/data?n=800000");
	ok(c.a == ATTEMPT_OK && c.ms >= 550 && c.ms < 1500,
	   "a rate limit holds downloads (%lld ms)", (long long)c.ms);
	end(&c);
	feed_mem_init(&feed, p, 600000);
	c = call_to(HTTP_PUT, port_a, "/upload");
	c.rq.body = &feed.feed;
	make(&c);
	ok(c.a == ATTEMPT_OK && c.ms >= 350 && c.ms < 1500,
	   "and uploads (%lld ms)", (long long)c.ms);
	end(&c);
	http_client_free(client);
	client = saved;
}

int main(void)
{
	const char *const argv[] = {"faults.py", NULL};
	const struct http_client_options o = {.times = fast};

	if (!server_start(&server, argv))
		tap_skip_all(server.ready);
	port_a = atoi(server_value(&server, "a"));
	port_b = atoi(server_value(&server, "b"));
	port_c = atoi(server_value(&server, "c"));
	port_log = atoi(server_value(&server, "log"));
	client = new_client(&o);

	test_bodies();
	test_request_headers();
	test_broken_bodies();
	test_limits();
	test_error_answers();
	test_callers_refusals();
	test_uploads();
	test_many_uploads();
	test_rewind();
	test_redirects();
	test_addresses();
	test_connecting();
	test_bounds();
	test_slow_caller();
	test_many();
	test_per_host();
	test_rate();
	test_busy();

	http_client_free(client);
	server_stop(&server);
	return tap_done();
}
