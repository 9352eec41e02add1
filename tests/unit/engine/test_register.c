#include "engine/register.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/path.h"
#include "tests/fakes/fakes.h"
#include "tests/unit/engine/workspace_fixture.h"

#define BUNDLE                                             \
	"bundle: {layers: [{name: code, paths: [src/**]}," \
	" {name: data, paths: [data/**]}]}\n"

struct shop {
	struct ws ws;
	struct inventory inv;
	struct object_stores stores;
};

static void put_object(struct shop *s, const char *text, const void *p,
		       size_t n)
{
	struct object_store *store = s->stores.by_scheme[URI_S3];
	cleanup_pointer_uri struct pointer_uri uri = {0};
	struct digest d = digest_of_buf(p, n);
	struct feed_mem feed;

	feed_mem_init(&feed, p, n);
	cr_assert(
		eq(int, pointer_uri_parse(text, strlen(text), &uri, NULL), 0));
	cr_assert(eq(int,
		     store->ops->put(store, &uri, &feed.feed, &d, NULL, NULL),
		     0));
}

static void shop_open(struct shop *s)
{
	struct scan_options o = {.hash = true, .incomplete = true};

	*s = (struct shop){.inv = INVENTORY_INIT};
	s->stores.by_scheme[URI_S3] = object_store_fake_new();
	ws_open(&s->ws, BUNDLE);
	ws_put(&s->ws, "src/a", "hello", 0644);
	cr_assert(eq(int, scan(s->ws.dir, &s->ws.bf, &o, &s->inv, NULL), 0));
}

static void shop_close(struct shop *s)
{
	inventory_release(&s->inv);
	object_stores_release(&s->stores);
	ws_close(&s->ws);
}
#define cleanup_shop __attribute__((cleanup(shop_close)))

static int reg(struct shop *s, const char *path, const char *uri, bool read,
	       struct error **errp)
{
	struct plan_external x = {path, uri};

	return register_external(&s->stores, &x, read, &s->ws.bf, &s->inv, NULL,
				 errp);
}

Test(register, reads_an_object_once_for_all_its_digests)
{
	static const size_t sizes[] = {1, CHUNK_SIZE, CHUNK_SIZE + 1,
				       3 * CHUNK_SIZE, 3 * CHUNK_SIZE + 5};
	cleanup_free char *buf = xmalloc(4 * CHUNK_SIZE);

	for (size_t i = 0; i < 4 * CHUNK_SIZE; i++)
		buf[i] = (char)(i * 2654435761u >> 13);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t n = sizes[i], n_chunks = (n - 1) / CHUNK_SIZE + 1;
		cleanup_shop struct shop s;
		const struct inv_entry *e;
		struct digest want = digest_of_buf(buf, n);

		shop_open(&s);
		put_object(&s, "s3://bucket/k", buf, n);
		cr_assert(eq(int,
			     reg(&s, "data/m", "s3://bucket/k", true, NULL),
			     0));
		e = inventory_find(&s.inv, "data/m");
		cr_assert(e != NULL);
		cr_expect(digest_equal(&e->digest, &want));
		cr_expect(eq(u64, e->size, n));
		cr_expect(eq(uint, e->layer, 1));
		cr_expect(eq(ptr, e->fs_path, NULL));
		cr_assert(eq(sz, e->n_chunks, n_chunks > 1 ? n_chunks : 0));
		for (size_t k = 0; k < e->n_chunks; k++) {
			size_t off = k * CHUNK_SIZE;
			struct digest c = digest_of_buf(
				buf + off, MIN(n - off, (size_t)CHUNK_SIZE));

			cr_expect(digest_equal(&c, &e->chunks[k]));
		}
		cr_expect(eq(int,
			     inventory_check_layers(&s.inv, &s.ws.bf, NULL),
			     0));
	}
}

Test(register, without_it_a_layer_may_be_empty)
{
	cleanup_shop struct shop s;

	shop_open(&s);
	cr_expect(eq(int, inventory_check_layers(&s.inv, &s.ws.bf, NULL),
		     -EINVAL));
}

Test(register, a_file_of_the_folder_must_be_the_object)
{
	cleanup_shop struct shop s;
	cleanup_error struct error *err = NULL;

	shop_open(&s);
	put_object(&s, "s3://bucket/same", "hello", 5);
	put_object(&s, "s3://bucket/other", "jello", 5);
	cr_expect(eq(int, reg(&s, "src/a", "s3://bucket/same", true, NULL), 0));
	cr_expect(eq(int, reg(&s, "src/a", "s3://bucket/other", true, &err),
		     -EINVAL));
	cr_expect(eq(int, err->kind, ERROR_VALIDATION));
	cr_expect(strstr(err->message, "'src/a'") != NULL);
	cr_expect(eq(sz, s.inv.n, 1));
}

Test(register, a_look_asks_for_sizes_alone)
{
	cleanup_shop struct shop s;

	shop_open(&s);
	put_object(&s, "s3://bucket/k", "jello!", 6);
	cr_expect(eq(int, reg(&s, "data/m", "s3://bucket/k", false, NULL), 0));
	cr_expect(eq(u64, inventory_find(&s.inv, "data/m")->size, 6));
	cr_expect(eq(int, reg(&s, "src/a", "s3://bucket/k", false, NULL), 0));
	cr_expect(eq(u64, inventory_find(&s.inv, "src/a")->size, 5));
}

Test(register, refuses_what_is_not_there_or_makes_no_sense)
{
	static const struct plan_external bad[] = {
		{"data/m", "s3://bucket/missing"},
		{"data/m", "s3://bucket"},
		{"data/m", "http://host/k"},
		{"data/m", "s3://bucket/e"},
		{"other/m", "s3://bucket/k"},
		{"data/../m", "s3://bucket/k"},
		{"data/\xff", "s3://bucket/k"},
		{"data/m", "gs://bucket/k"},
	};
	cleanup_shop struct shop s;

	shop_open(&s);
	put_object(&s, "s3://bucket/k", "x", 1);
	put_object(&s, "s3://bucket/e", "", 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cleanup_error struct error *err = NULL;
		int r = reg(&s, bad[i].path, bad[i].uri, true, &err);

		cr_expect(r < 0, "%s=%s", bad[i].path, bad[i].uri);
		cr_assert(err != NULL);
		cr_expect(strstr(err->message, bad[i].path) != NULL, "%s",
			  err->message);
	}
	cr_expect(eq(sz, s.inv.n, 1));
}

Test(register, without_a_store_takes_the_folders_word_and_says_so)
{
	cleanup_shop struct shop s;

	shop_open(&s);
	cr_expect(eq(int, reg(&s, "src/a", "gs://bucket/k", true, NULL), 0));
	cr_assert(eq(sz, strv_len(s.inv.warnings), 1));
	cr_expect(strstr(s.inv.warnings[0], "gs://bucket/k") != NULL);
}
