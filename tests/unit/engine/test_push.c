#include "engine/push.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/time.h"
#include "cache/hashes.h"
#include "engine/bundle.h"
#include "tests/lib/tmpdir.h"
#include "tests/unit/engine/workspace_fixture.h"

static struct ws ws;
static struct settings settings;
static char *home;

static void set_up(void)
{
	home = tmpdir_new();
	settings = (struct settings){
		.registry = xasprintf("oci:%s/registry", home),
		.cache_dir = xasprintf("%s/cache", home),
		.concurrency = 2,
		.times = RETRY_TIMES_DEFAULT,
	};
	ws_open(&ws, NULL);
}

static void clean_up(void)
{
	ws_close(&ws);
	tmpdir_remove(home);
	free(settings.registry);
	free(settings.cache_dir);
}

TestSuite(push, .init = set_up, .fini = clean_up);

static int push_to(const char *to, struct error **errp)
{
	cleanup_push_result struct push_result done = {0};
	cleanup_session struct session *s = NULL;
	struct push_options o = {.dir = ws.dir, .to = to};

	cr_assert(eq(int, session_new(&settings, &s, NULL), 0));
	return push(s, &o, &done, NULL, errp);
}

static char *key_of_pack(const char *path, const char *text)
{
	cleanup_hasher struct hasher *h = hasher_new();
	struct digest d = digest_of_buf(text, strlen(text));

	hasher_update(h, path, strlen(path) + 1);
	hasher_update(h, "-", 1);
	hasher_update(h, &d, sizeof(d));
	d = hasher_final(h);
	return xasprintf("pack-%d/%s", PACK_FORMAT, digest_to_hex(&d).str);
}

/* What is remembered of the pack of one file becomes that it has @d. False: it
 * is not remembered. */
static bool remember(const char *key, off_t size, const struct digest *d)
{
	cleanup_free char *real = realpath(ws.dir, NULL);
	cleanup_free char *folder = xasprintf("%s/.mops/packs", real);
	cleanup_session struct session *s = NULL;
	const struct stat st = {.st_size = size};
	struct hashes *h;
	struct digest was;
	struct cache *c;
	bool known;

	cr_assert(eq(int, session_new(&settings, &s, NULL), 0));
	cr_assert(eq(int, session_cache(s, &c, NULL), 0));
	cr_assert(eq(int, hashes_open(c, folder, &h, NULL), 0));
	known = hashes_get(h, key, &st, &was, NULL, &(size_t){0});
	if (d) {
		hashes_put(h, key, &st, time_wall_ns(), d, NULL, 0);
		cr_assert(eq(int, hashes_save(h, NULL), 0));
	}
	hashes_free(h);
	return known;
}

/* Whatever made it so, the next push does without. */
Test(push, a_wrong_record_of_a_pack_is_dropped)
{
	cleanup_free char *key = key_of_pack("a.txt", "text\n");
	const struct digest wrong = digest_of_buf("wrong", 5);
	cleanup_error struct error *err = NULL;
	off_t size = 10240; /* a record of a tar */

	ws_put(&ws, "a.txt", "text\n", 0644);
	cr_assert(eq(int, push_to("m:1", NULL), 0));
	cr_assert(remember(key, size, &wrong));
	cr_expect(eq(int, push_to("m:2", &err), -ESTALE));
	cr_assert(err != NULL);
	cr_expect(strstr(err->message, "a pack has other bytes") != NULL, "%s",
		  err->message);
	cr_expect(not(remember(key, size, NULL)));
	cr_expect(eq(int, push_to("m:2", NULL), 0));
	cr_expect(remember(key, size, NULL));
}

static size_t cut_each(const struct pack_item *items, size_t n, unsigned k)
{
	return 1;
}

/* Not what one version does, but whatever the rules say. */
Test(push, plans_by_the_rules_that_it_is_given_and_says_which)
{
	struct plan_rules rules = *plan_rules_newest();
	struct push_options o = {.dir = ws.dir, .to = "m:1", .rules = &rules};
	cleanup_push_result struct push_result done = {0};
	cleanup_session struct session *s = NULL;
	cleanup_bundle struct bundle *b = NULL;

	rules.version = 7;
	rules.own_blob_min = 100;
	rules.max_own_blobs = 1;
	rules.cut = cut_each;
	ws_put(&ws, "a", "1", 0644);
	ws_put(&ws, "b", "2", 0644);
	ws_put_bytes(&ws, "c", 300, 1);
	ws_put_bytes(&ws, "d", 200, 2);
	cr_assert(eq(int, session_new(&settings, &s, NULL), 0));
	cr_assert(eq(int, push(s, &o, &done, NULL, NULL), 0));
	cr_assert(eq(int, bundle_open(s, &done.ref, NULL, &b, NULL), 0));
	cr_expect(eq(u32, b->root.plan_version, 7));
	cr_expect(eq(u64, b->root.layers[0].bytes_blob, 300));
	cr_expect(eq(u64, b->root.layers[0].bytes_pack, 202));
	/* a tree, three packs, a blob */
	cr_expect(eq(sz, b->manifest.n_layers, 5));
}
