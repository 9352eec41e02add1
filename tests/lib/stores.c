#include "tests/lib/stores.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)1 << 20)

const struct retry_times stores_times = {
	.connect_ms = 5000,
	.stall_ms = 10000,
	.io_ms = 20000,
};

void store_stack_open(struct store_stack *st, const char *ca)
{
	struct http_client_options o = {
		.times = stores_times,
		.ca_file = ca,
		.per_host = 16,
	};

	*st = (struct store_stack){0};
	if (http_client_new(&o, &st->client, NULL) < 0)
		abort();
	o.fixed_addresses = true;
	if (http_client_new(&o, &st->metadata, NULL) < 0)
		abort();
}

void store_stack_close(struct store_stack *st)
{
	object_store_free(st->store);
	http_client_free(st->client);
	http_client_free(st->metadata);
}

static void parse(const char *text, struct pointer_uri *ret)
{
	if (pointer_uri_parse(text, strlen(text), ret, NULL) < 0)
		abort();
}

int store_stat(struct store_stack *st, const char *text,
	       struct object_info *ret, struct error **errp)
{
	cleanup_pointer_uri struct pointer_uri uri = {0};

	parse(text, &uri);
	return st->store->ops->stat(st->store, &uri, ret, NULL, errp);
}

static int put_as(struct store_stack *st, const char *text, struct feed *feed,
		  const struct digest *d, const struct op *op,
		  struct error **errp)
{
	cleanup_pointer_uri struct pointer_uri uri = {0};

	parse(text, &uri);
	return st->store->ops->put(st->store, &uri, feed, d, op, errp);
}

int store_put(struct store_stack *st, const char *text, const char *p, size_t n,
	      struct error **errp)
{
	struct digest d = digest_of_buf(p, n);
	struct feed_mem feed;

	feed_mem_init(&feed, p, n);
	return put_as(st, text, &feed.feed, &d, NULL, errp);
}

void stores_take_odd_keys(struct conformance *c, struct store_stack *st,
			  const char *base)
{
	static const char *const keys[] = {
		"plain",
		"with%20blank",
		"plus%2Bsign",
		"%21%22%23%24%25%26%27%28%29%2A%2C%3A%3B%3C%3D%3E%3F%40",
		"%5B%5D%5E%60%7B%7C%7D~",
		"%C3%A9%E2%82%AC",
		"%252F",
	};

	conformance_begin(c);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		cleanup_free char *uri = xasprintf("%s/odd/%s", base, keys[i]);
		cleanup_error struct error *e1 = NULL, *e2 = NULL;
		struct object_info info = {0};

		check_code(c, store_put(st, uri, keys[i], strlen(keys[i]), &e1),
			   0, e1);
		check_code(c, store_stat(st, uri, &info, &e2), 0, e2);
		check(c, info.size == strlen(keys[i]), "%s: size %llu", keys[i],
		      (unsigned long long)info.size);
	}
	conformance_end(c, "takes odd keys");
}

void stores_go_on(struct conformance *c, struct store_stack *st,
		  const char *uri)
{
	const size_t n = 23 * MIB;
	cleanup_free char *p = conformance_bytes("parts", n);
	cleanup_error struct error *e1 = NULL, *e2 = NULL, *e3 = NULL;
	struct digest d = digest_of_buf(p, n);
	atomic_uint_fast64_t sent = 0;
	struct object_info info = {0};
	struct op op = OP_INIT;
	struct probe_feed feed;

	conformance_begin(c);
	probe_feed_init(&feed, p, n);
	feed.fail_from = 17 * MIB;
	feed.code = ETIMEDOUT; /* as a network that fails */
	check_code(c, put_as(st, uri, &feed.feed, &d, NULL, &e1), -ETIMEDOUT,
		   e1);
	probe_feed_init(&feed, p, n);
	op.bytes_out = &sent;
	check_code(c, put_as(st, uri, &feed.feed, &d, &op, &e2), 0, e2);
	check(c, sent < 10 * MIB, "%llu bytes were sent again",
	      (unsigned long long)sent);
	check_code(c, store_stat(st, uri, &info, &e3), 0, e3);
	check(c,
	      info.size == n && info.has_sha256 &&
		      digest_equal(&info.sha256, &d),
	      "another object");
	conformance_end(c, "goes on with an upload that broke off");
}

void stores_keep_no_wrong_parts(struct conformance *c, struct store_stack *st,
				const char *uri)
{
	const size_t n = 12 * MIB;
	cleanup_free char *p = conformance_bytes("wrong parts", n);
	cleanup_error struct error *err = NULL;
	struct digest d = digest_of_buf(p, n);
	struct object_info info;
	struct feed_mem feed;

	conformance_begin(c);
	p[n - 1] ^= 1;
	feed_mem_init(&feed, p, n);
	check_code(c, put_as(st, uri, &feed.feed, &d, NULL, &err), -EBADMSG,
		   err);
	check(c, store_stat(st, uri, &info, NULL) == -ENOENT, "it is there");
	conformance_end(c, "keeps no parts of wrong content");
}

void stores_check_stat(struct conformance *c, struct store_stack *st,
		       const char *uri, const char *name, int want)
{
	cleanup_error struct error *err = NULL;
	struct object_info info;

	conformance_begin(c);
	check_code(c, store_stat(st, uri, &info, &err), want, err);
	check(c, !err || !strstr(err->message, "canary"),
	      "a secret in the message");
	conformance_end(c, name);
}
