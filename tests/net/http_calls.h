/*
 * Requests of the HTTP client to tests/servers/faults.py, for the tests of
 * several programs.
 *
 * Threads: calls from any; the rest from one.
 */
#ifndef TESTS_NET_HTTP_CALLS_H
#define TESTS_NET_HTTP_CALLS_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/http.h"

/* The client of the calls; a test may put another in its place for a while. */
extern struct http_client *client;
/* Of the server: three origins, and the log. */
extern int port_a, port_b, port_c, port_log;
/* Times that end a test soon. */
extern const struct retry_times fast;

/* Server and client; leaves the program, skipped, where that cannot run. */
void calls_begin(void);
void calls_end(void);

struct http_client *new_client(const struct http_client_options *o);

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

struct http_url url_of(int port, const char *path);
struct call call_to(enum http_method m, int port, const char *path);
void make(struct call *c);
void end(struct call *c);
/* From the first origin; made. */
struct call get(const char *path);

/* What the server sends, from byte @first on. */
unsigned char pattern(uint64_t i);
bool is_pattern(const char *p, size_t n, uint64_t first);

/* What the server saw since the last look, as JSON text. */
char *server_log(void);

#endif
