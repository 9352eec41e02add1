/*
 * Where the HTTP client goes, and where it does not.
 */
#include <errno.h>
#include <stdint.h>

#include "base/strbuf.h"
#include "tests/lib/server.h"
#include "tests/lib/tap.h"
#include "tests/net/http_calls.h"

#define SECRET "Basic Y2FuYXJ5OmNhbmFyeQ=="

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
	leaked = server_saw(log, SECRET) != expect ||
		 server_saw(log, "cookie") != 0;
	ok(c.a == ATTEMPT_OK && c.r.status == 200 && !leaked &&
		   server_saw(log, "\"origin\"") == n &&
		   c.r.redirected == (n > 1),
	   "%s over %s with %d: the secret stays at home",
	   m == HTTP_HEAD ? "HEAD" : "GET", chain, code);
	end(&c);
}

/* A second try on a busy machine would be in the log, too: no haste here. */
static void test_redirects(void)
{
	const struct http_client_options o = {.times = RETRY_TIMES_DEFAULT};
	struct http_client *saved = client;
	static const char *const chains[] = {"aa",  "ab",   "aba",
					     "abc", "aabb", "acbaa"};
	static const int codes[] = {301, 302, 303, 307, 308};
	struct call c;

	client = new_client(&o);
	for (size_t i = 0; i < ARRAY_SIZE(chains); i++)
		for (size_t j = 0; j < ARRAY_SIZE(codes); j++) {
			redirect_graph(chains[i], codes[j], HTTP_GET);
			redirect_graph(chains[i], codes[j], HTTP_HEAD);
		}

	free(server_log());
	c = get("/loop");
	is_int(c.a, ATTEMPT_ADDRESS, "a redirect loop is refused");
	cleanup_free char *log = server_log();
	is_int(server_saw(log, "/loop"), 11, "after ten hops");
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
	http_client_free(client);
	client = saved;
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
		is_int(server_saw(log, "\"origin\""), 0, "nothing was sent");
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
	ok(c.a == ATTEMPT_ADDRESS && server_saw(log, "\"origin\"") == 0,
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

int main(void)
{
	calls_begin();
	test_redirects();
	test_addresses();
	test_connecting();
	calls_end();
	return tap_done();
}
