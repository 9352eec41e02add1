/*
 * What a store may answer, and what comes of it: right bytes or none, the right
 * error, no second place contacted, no time lost.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/s3.h"
#include "tests/conformance/conformance.h"
#include "tests/lib/server.h"
#include "tests/lib/stores.h"
#include "tests/lib/tap.h"

#define OFF 1000
#define LEN 250000

/* Compares with what every object of the server holds. */
struct check_sink {
	struct sink sink;
	uint64_t pos;
	bool wrong;
};

static int check_write(struct sink *s, const void *buf, size_t n,
		       struct error **errp)
{
	struct check_sink *cs = (struct check_sink *)s;
	const unsigned char *p = buf;

	for (size_t i = 0; i < n; i++, cs->pos++)
		cs->wrong |=
			p[i] != (unsigned char)(7 * cs->pos + (cs->pos >> 8));
	return 0;
}

struct odd_case {
	const char *key;
	const char *validator;
	int want;
	const char *name;
};

static const struct odd_case reads[] = {
	{"plain", "", 0, "a sound answer"},
	{"norange", "", 0, "the whole in place of a range"},
	{"wrongrange", "", 0, "another range than asked for"},
	{"short", "", 0, "answers that break off"},
	{"pieces", "", 0, "less than asked for, again and again"},
	{"busy", "", 0, "a store that is busy at first"},
	{"skew", "", 0, "a clock that is an hour ahead"},
	{"gzip", "", 0, "an object that is stored packed"},
	{"plain", "\"other\"", -ESTALE, "another object, precondition ignored"},
	{"mixed", "", -ESTALE, "an object that changes between two pieces"},
	{"nomatch", "\"e\"", -ESTALE, "another object"},
	{"archived", "", -EIO, "an archived object"},
	{"moved", "", -EPROTO, "a redirect"},
	{"region", "", -EPROTO, "a region that is none"},
	{"endless", "", -EACCES, "an error without end"},
};

static void read_one(struct conformance *c, struct object_store *s,
		     const struct odd_case *k)
{
	cleanup_free char *text = xasprintf("s3://bucket/%s", k->key);
	cleanup_pointer_uri struct pointer_uri uri = {0};
	struct check_sink sink = {.sink = {check_write}, .pos = OFF};
	cleanup_error struct error *err = NULL;
	int64_t began = time_mono_ns();
	int r;

	conformance_begin(c);
	if (pointer_uri_parse(text, strlen(text), &uri, NULL) < 0)
		abort();
	r = s->ops->read(s, &uri, k->validator, OFF, LEN, &sink.sink, NULL,
			 &err);
	check_code(c, r, k->want, err);
	check(c, !sink.wrong, "wrong bytes");
	check(c, r < 0 || sink.pos == OFF + LEN, "%llu bytes",
	      (unsigned long long)(sink.pos - OFF));
	check(c, time_mono_ns() - began < 8 * NS_PER_S, "it took too long");
	if (strcmp(k->key, "archived") == 0)
		check(c, err && err->hint && strstr(err->hint, "restore"),
		      "no advice");
	conformance_end(c, k->name);
}

static void stat_one(struct conformance *c, struct store_stack *st,
		     const char *text, int want, bool has_validator,
		     const char *name)
{
	cleanup_error struct error *err = NULL;
	struct object_info info = {0};

	conformance_begin(c);
	check_code(c, store_stat(st, text, &info, &err), want, err);
	check(c, !!info.validator[0] == has_validator, "validator '%s'",
	      info.validator);
	conformance_end(c, name);
}

/* Nobody may have come to the second port: a connection of ours is the first
 * that it counts. */
static void nobody_went_elsewhere(struct conformance *c, const struct server *s)
{
	const struct http_client_options co = {.times = RETRY_TIMES_DEFAULT};
	cleanup_http_response struct http_response r = {.retry_after_ms = -1};
	cleanup_free char *url = xasprintf("http://127.0.0.1:%s/counts",
					   server_value(s, "port"));
	struct http_request rq = {.max_body = 65536, .user_host = true};
	struct http_client *client = NULL;

	conformance_begin(c);
	if (http_client_new(&co, &client, NULL) < 0 ||
	    http_url_parse(url, &rq.url, NULL) < 0)
		abort();
	check(c,
	      http_request(client, &rq, &r, NULL, NULL, NULL, NULL) ==
			      ATTEMPT_OK &&
		      r.body && strstr(r.body, "get-moved") &&
		      !strstr(r.body, "elsewhere"),
	      "counts: %s", r.body ? r.body : "none");
	http_client_free(client);
	http_url_release(&rq.url);
	conformance_end(c, "no redirect was followed");
}

int main(void)
{
	const char *const argv[] = {"odd_store.py", NULL};
	char *const payers[] = {(char *)"our-bill", NULL};
	/* Time without end is one of the oddities. */
	struct s3_options o = {
		.times = {.connect_ms = 2000, .stall_ms = 4000, .io_ms = 6000},
		.requester_pays = payers,
	};
	struct conformance c = {.label = "odd store"};
	cleanup_free char *url = NULL;
	struct store_stack st;
	struct server server;

	if (!server_start(&server, argv))
		tap_skip_all(server.ready);
	url = xasprintf("http://127.0.0.1:%s", server_value(&server, "port"));
	setenv("AWS_ENDPOINT_URL_S3", url, 1);
	setenv("AWS_ACCESS_KEY_ID", "id", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "canary", 1);
	setenv("AWS_CONFIG_FILE", "/nonexistent", 1);
	setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent", 1);
	unsetenv("AWS_PROFILE");
	unsetenv("AWS_REGION");
	store_stack_open(&st, NULL);
	o.client = st.client;
	o.metadata = st.metadata;
	st.store = object_store_s3_new(&o);
	for (size_t i = 0; i < ARRAY_SIZE(reads); i++)
		read_one(&c, st.store, &reads[i]);
	stat_one(&c, &st, "s3://bucket/plain", 0, true,
		 "an ETag is a validator");
	stat_one(&c, &st, "s3://bucket/weak", 0, false, "a weak one is none");
	stat_one(&c, &st, "s3://bucket/flood", 0, false,
		 "an endless one is none");
	stat_one(&c, &st, "s3://bucket/nolength", -EPROTO, false,
		 "a size that is not said");
	stat_one(&c, &st, "s3://our-bill/payer", 0, true,
		 "a bucket whose reader pays, and who agreed");
	stat_one(&c, &st, "s3://bucket/payer", -EACCES, false,
		 "and who did not");
	nobody_went_elsewhere(&c, &server);
	store_stack_close(&st);
	server_stop(&server);
	return conformance_done(&c);
}
