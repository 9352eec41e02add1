/*
 * The HTTP client with many requests, slow callers, and an end in sight.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/digest.h"
#include "tests/lib/tap.h"
#include "tests/net/http_calls.h"

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
	calls_begin();
	test_many_uploads();
	test_bounds();
	test_slow_caller();
	test_many();
	test_per_host();
	test_rate();
	test_busy();
	calls_end();
	return tap_done();
}
