/*
 * Google Cloud Storage passes the suite of every object store, against a double
 * of ours that checks tokens, generations and ranges; uploads go on after a
 * broken connection; and all the ways to get a token.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/gcs.h"
#include "tests/conformance/conformance.h"
#include "tests/lib/server.h"
#include "tests/lib/stores.h"
#include "tests/lib/tap.h"

#define MIB ((size_t)1 << 20)

static void clean_environment(void)
{
	setenv("NO_GCE_CHECK", "true", 1);
	setenv("CLOUDSDK_CONFIG", "/nonexistent", 1);
	unsetenv("GCE_METADATA_HOST");
	unsetenv("GOOGLE_APPLICATION_CREDENTIALS");
}

static void set_endpoint(const struct server *s)
{
	cleanup_free char *host =
		xasprintf("127.0.0.1:%s", server_value(s, "port"));

	setenv("STORAGE_EMULATOR_HOST", host, 1);
}

static void set_file(const struct server *s, const char *name)
{
	cleanup_free char *path =
		xasprintf("%s/%s", server_value(s, "dir"), name);

	setenv("GOOGLE_APPLICATION_CREDENTIALS", path, 1);
}

static void open_stack(struct store_stack *st)
{
	struct gcs_options o = {
		.times = stores_times,
		.piece_size = 4 * MIB,
	};

	store_stack_open(st, NULL);
	o.client = st->client;
	o.metadata = st->metadata;
	st->store = object_store_gcs_new(&o);
}

/* Sizes around the pieces of an upload, and of nothing. */
static void uploads_of_all_sizes(struct conformance *c, struct store_stack *st)
{
	static const size_t sizes[] = {0,       1,           4 * MIB - 1,
				       4 * MIB, 4 * MIB + 1, 9 * MIB};

	conformance_begin(c);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		cleanup_free char *p = conformance_bytes("sizes", sizes[i]);
		cleanup_free char *uri =
			xasprintf("gs://bucket/size/%zu", sizes[i]);
		cleanup_error struct error *e1 = NULL, *e2 = NULL;
		struct digest d = digest_of_buf(p, sizes[i]);
		struct object_info info = {0};

		check_code(c, store_put(st, uri, p, sizes[i], &e1), 0, e1);
		check_code(c, store_stat(st, uri, &info, &e2), 0, e2);
		check(c,
		      info.size == sizes[i] && digest_equal(&info.sha256, &d),
		      "another object of %zu bytes", sizes[i]);
	}
	conformance_end(c, "uploads of all sizes");
}

static void one_stat(struct conformance *c, const char *name, int want)
{
	struct store_stack st;

	open_stack(&st);
	stores_check_stat(c, &st, "gs://bucket/none", name, want);
	store_stack_close(&st);
}

/* -ENOENT: whoever asks may look, and nothing is there. */
static void ways_to_get_a_token(struct conformance *c, const struct server *s)
{
	cleanup_free char *host =
		xasprintf("127.0.0.1:%s", server_value(s, "port"));

	clean_environment();
	one_stat(c, "is refused without credentials", -EACCES);
	set_file(s, "user.json");
	one_stat(c, "shows an authorized user", -ENOENT);
	set_file(s, "external.json");
	one_stat(c, "exchanges a token of a file", -ENOENT);
	set_file(s, "external-url.json");
	one_stat(c, "exchanges a token of an address", -ENOENT);
	set_file(s, "impersonated.json");
	one_stat(c, "takes the place of a service account", -ENOENT);
	set_file(s, "wrong-key.json");
	one_stat(c, "refuses what is no key", -EINVAL);
	set_file(s, "no-such-file.json");
	one_stat(c, "says that the file is missing", -ENOENT);
	clean_environment();
	unsetenv("NO_GCE_CHECK");
	setenv("GCE_METADATA_HOST", host, 1);
	one_stat(c, "asks the metadata server", -ENOENT);
}

/* Tokens of 3 s, read for 8 s: each read succeeds. */
static void outlives_its_tokens(struct conformance *c)
{
	const char *const argv[] = {"gcs.py", "--life", "3", NULL};
	int64_t end = time_deadline_ms(8000);
	struct object_info info;
	struct server s;
	struct store_stack st;

	if (!server_start(&s, argv))
		tap_skip_all(s.ready);
	clean_environment();
	set_endpoint(&s);
	set_file(&s, "service.json");
	open_stack(&st);
	conformance_begin(c);
	while (time_mono_ns() < end) {
		cleanup_error struct error *err = NULL;

		check_code(c, store_stat(&st, "gs://bucket/none", &info, &err),
			   -ENOENT, err);
		time_sleep_ms(20);
	}
	conformance_end(c, "tokens that end are renewed in time");
	store_stack_close(&st);
	server_stop(&s);
}

int main(void)
{
	const char *const argv[] = {"gcs.py", NULL};
	const char *const flaky[] = {"gcs.py", "--flaky", NULL};
	struct conformance c = {.label = "gcs"};
	struct server s, bad;
	struct store_stack st;

	if (!server_start(&s, argv))
		tap_skip_all(s.ready);
	clean_environment();
	set_endpoint(&s);
	set_file(&s, "service.json");
	open_stack(&st);
	conformance_object_store(&c, st.store, "gs://bucket");
	stores_take_odd_keys(&c, &st, "gs://bucket");
	uploads_of_all_sizes(&c, &st);
	store_stack_close(&st);
	ways_to_get_a_token(&c, &s);

	clean_environment();
	setenv("GS_ACCESS_KEY_ID", "GOOGTEST", 1);
	setenv("GS_SECRET_ACCESS_KEY", "canary-hmac-secret", 1);
	open_stack(&st);
	c.label = "gcs, hmac";
	conformance_object_store(&c, st.store, "gs://bucket");
	stores_take_odd_keys(&c, &st, "gs://bucket");
	uploads_of_all_sizes(&c, &st);
	store_stack_close(&st);
	setenv("GS_SECRET_ACCESS_KEY", "canary-wrong", 1);
	one_stat(&c, "is refused with a wrong secret", -EACCES);
	unsetenv("GS_ACCESS_KEY_ID");
	unsetenv("GS_SECRET_ACCESS_KEY");
	server_stop(&s);

	if (!server_start(&bad, flaky))
		tap_skip_all(bad.ready);
	clean_environment();
	set_endpoint(&bad);
	set_file(&bad, "service.json");
	open_stack(&st);
	c.label = "gcs, broken connections";
	uploads_of_all_sizes(&c, &st);
	store_stack_close(&st);
	server_stop(&bad);
	c.label = "gcs";
	outlives_its_tokens(&c);
	return conformance_done(&c);
}
