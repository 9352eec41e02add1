#include "tests/net/http_calls.h"

#include <stdlib.h>

#include "tests/lib/server.h"
#include "tests/lib/tap.h"

static struct server server;
struct http_client *client;
int port_a, port_b, port_c, port_log;

const struct retry_times fast = {
	.connect_ms = 2000,
	.stall_ms = 400,
	.io_ms = 3000,
};

struct http_client *new_client(const struct http_client_options *o)
{
	struct http_client *c = NULL;

	if (http_client_new(o, &c, NULL) < 0)
		abort();
	return c;
}

struct http_url url_of(int port, const char *path)
{
	cleanup_free char *s = xasprintf("http://127.0.0.1:%d%s", port, path);
	struct http_url u = {0};

	if (http_url_parse(s, &u, NULL) < 0)
		abort();
	return u;
}

struct call call_to(enum http_method m, int port, const char *path)
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

void make(struct call *c)
{
	int64_t began = time_mono_ns();

	c->a = http_request(client, &c->rq, &c->r, NULL, NULL, &c->op, &c->err);
	c->ms = (time_mono_ns() - began) / NS_PER_MS;
}

void end(struct call *c)
{
	http_response_release(&c->r);
	http_url_release(&c->rq.url);
	free(c->body.buf);
	error_free(c->err);
}

struct call get(const char *path)
{
	struct call c = call_to(HTTP_GET, port_a, path);

	make(&c);
	return c;
}

unsigned char pattern(uint64_t i)
{
	return (unsigned char)(i % 65536 * 7 + (i % 65536 >> 8) * 13);
}

bool is_pattern(const char *p, size_t n, uint64_t first)
{
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)p[i] != pattern(first + i))
			return false;
	return true;
}

char *server_log(void)
{
	struct call c = call_to(HTTP_GET, port_log, "/");
	char *text;

	make(&c);
	text = xstrdup(c.r.body ? c.r.body : "");
	end(&c);
	return text;
}

void calls_begin(void)
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
}

void calls_end(void)
{
	http_client_free(client);
	server_stop(&server);
}
