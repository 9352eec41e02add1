/*
 * The HTTP client against a server that misbehaves on request: what is asked, sent
 * and answered.
 */
#include <errno.h>
#include <stdint.h>

#include "base/digest.h"
#include "tests/lib/tap.h"
#include "tests/net/http_calls.h"

#define SECRET "Basic Y2FuYXJ5OmNhbmFyeQ=="

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

int main(void)
{
	calls_begin();
	test_bodies();
	test_request_headers();
	test_broken_bodies();
	test_limits();
	test_error_answers();
	test_callers_refusals();
	test_uploads();
	test_rewind();
	calls_end();
	return tap_done();
}
