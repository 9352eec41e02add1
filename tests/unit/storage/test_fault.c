
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/alloc.h"
#include "storage/object_store.h"
#include "storage/registry.h"
#include "tests/fakes/fakes.h"

#define TEXT "0123456789"

static struct registry *reg; /* as the fault injector shows it */
static struct registry *inner;
static struct digest id;

/* A blob is there already; @fault NULL: counting only. */
static void arm(const struct fault *fault)
{
	struct feed_mem feed;

	inner = registry_fake_new();
	id = digest_of_str(TEXT);
	feed_mem_init(&feed, TEXT, strlen(TEXT));
	cr_assert(eq(int, 0,
		     inner->ops->put_blob(inner, "x", &id, &feed.feed, NULL,
					  NULL)));
	reg = registry_fault_new(inner, fault);
}

static void disarm(void)
{
	registry_free(reg);
	reg = NULL;
}

TestSuite(fault, .fini = disarm);

static int has(void)
{
	return reg->ops->has_blob(reg, "x", &id, NULL, NULL, NULL);
}

static char *read_all(int *ret)
{
	struct sink_mem s;

	sink_mem_init(&s, 100);
	*ret = reg->ops->read_blob(reg, "x", &id, strlen(TEXT), 0, strlen(TEXT),
				   &s.sink, NULL, NULL);
	return s.buf ? s.buf : xstrdup("");
}

static int put(const char *text, const struct digest *d)
{
	struct feed_mem feed;

	feed_mem_init(&feed, text, strlen(text));
	return reg->ops->put_blob(reg, "x", d, &feed.feed, NULL, NULL);
}

Test(fault, fails_the_nth_call_only)
{
	struct fault f = {.action = FAULT_FAIL, .nth = 2, .code = ENETDOWN};
	cleanup_error struct error *err = NULL;
	struct digest d;

	arm(&f);
	cr_expect(eq(int, has(), 1));
	cr_expect(eq(int, -ENETDOWN,
		     reg->ops->resolve(reg, "x", "1", &d, NULL, &err)));
	cr_expect(ne(ptr, strstr(err->message, "resolve"), NULL));
	cr_expect(eq(int, has(), 1));
}

Test(fault, fails_every_call_from_the_nth_on)
{
	struct fault f = {
		.action = FAULT_FAIL, .nth = 2, .every = true, .code = EIO};

	arm(&f);
	cr_expect(eq(int, has(), 1));
	cr_expect(eq(int, has(), -EIO));
	cr_expect(eq(int, has(), -EIO));
}

Test(fault, delays_and_goes_on)
{
	struct fault f = {.action = FAULT_DELAY, .nth = 1, .arg = 60};
	int64_t start = time_mono_ns();

	arm(&f);
	cr_expect(eq(int, has(), 1));
	cr_expect(ge(i64, time_mono_ns() - start, 60 * NS_PER_MS));
	start = time_mono_ns();
	cr_expect(eq(int, has(), 1));
	cr_expect(lt(i64, time_mono_ns() - start, 60 * NS_PER_MS));
}

Test(fault, delays_no_longer_than_the_operation_may_take)
{
	struct fault f = {.action = FAULT_DELAY, .nth = 1, .arg = 60000};
	struct op op = {.deadline_ns = time_deadline_ms(30)};

	arm(&f);
	cr_expect(eq(int, -ETIMEDOUT,
		     reg->ops->has_blob(reg, "x", &id, NULL, &op, NULL)));
}

Test(fault, shortens_a_read_and_says_that_all_is_well)
{
	struct fault f = {.action = FAULT_SHORTEN, .nth = 1, .arg = 3};
	cleanup_free char *first = NULL, *second = NULL;
	int r;

	arm(&f);
	first = read_all(&r);
	cr_expect(eq(int, r, 0));
	cr_expect(eq(str, first, "0123456"));
	second = read_all(&r);
	cr_expect(eq(int, r, 0));
	cr_expect(eq(str, second, TEXT));
}

Test(fault, shortens_to_nothing_when_there_is_no_more)
{
	struct fault f = {.action = FAULT_SHORTEN, .nth = 1, .arg = 30};
	cleanup_free char *got = NULL;
	int r;

	arm(&f);
	got = read_all(&r);
	cr_expect(eq(int, r, 0));
	cr_expect(eq(str, got, ""));
}

Test(fault, corrupts_one_bit_of_the_byte_that_was_named)
{
	struct fault f = {
		.action = FAULT_CORRUPT, .nth = 1, .every = true, .arg = 13};
	cleanup_free char *got = NULL;
	int r;

	arm(&f);
	got = read_all(&r);
	cr_expect(eq(int, r, 0));
	cr_expect(eq(str, got, "0122456789"), "13 modulo 10 is the 4th byte");
}

Test(fault, lets_the_store_refuse_what_it_tore)
{
	struct fault torn = {.action = FAULT_SHORTEN, .nth = 1, .arg = 1};
	struct fault bad = {.action = FAULT_CORRUPT, .nth = 1, .arg = 1};
	struct digest d = digest_of_str("new blob");

	arm(&torn);
	cr_expect(eq(int, put("new blob", &d), -EBADMSG));
	cr_expect(
		eq(int, 0, reg->ops->has_blob(reg, "x", &d, NULL, NULL, NULL)));
	disarm();
	arm(&bad);
	cr_expect(eq(int, put("new blob", &d), -EBADMSG));
	cr_expect(eq(int, put("new blob", &d), 0));
}

#define MANIFEST                                                              \
	"{\"config\":{\"digest\":\"sha256:"                                   \
	"84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882\"," \
	"\"mediaType\":\"a/b\",\"size\":10},\"layers\":[]}"

Test(fault, acts_on_manifests_and_on_resolved_digests)
{
	struct fault f = {.action = FAULT_CORRUPT, .nth = 2, .every = true};
	cleanup_manifest_bytes struct manifest_bytes m = {0};
	struct digest d = digest_of_str(MANIFEST), got;

	arm(&f);
	cr_assert(eq(int, 0,
		     reg->ops->put_manifest(reg, "x", "1", MEDIA_TYPE_MANIFEST,
					    MANIFEST, strlen(MANIFEST), NULL,
					    NULL)));
	cr_assert(eq(int, 0,
		     reg->ops->get_manifest(reg, "x", &d, &m, NULL, NULL)));
	cr_expect(eq(sz, m.len, strlen(MANIFEST)));
	cr_expect(eq(chr, m.buf[0], '{' ^ 1));
	cr_assert(
		eq(int, 0, reg->ops->resolve(reg, "x", "1", &got, NULL, NULL)));
	cr_expect(not(digest_equal(&d, &got)));
}

Test(fault, counts_what_it_saw)
{
	struct digest d = digest_of_str("blob");
	cleanup_free char *got = NULL;
	cleanup_strv char **tags = NULL;
	struct registry_counts n;
	int r;

	arm(NULL);
	has();
	has();
	put("blob", &d);
	got = read_all(&r);
	reg->ops->resolve(reg, "x", "1", &d, NULL, NULL);
	reg->ops->mount_blob(reg, "y", "x", &d, NULL, NULL);
	reg->ops->list_tags(reg, "x", &tags, NULL, NULL);
	n = registry_fault_counts(reg);
	cr_expect(eq(uint, n.has_blob, 2));
	cr_expect(eq(uint, n.put_blob, 1));
	cr_expect(eq(uint, n.read_blob, 1));
	cr_expect(eq(uint, n.resolve, 1));
	cr_expect(eq(uint, n.mount_blob, 1));
	cr_expect(eq(uint, n.other, 1));
	cr_expect(eq(uint, n.get_manifest + n.put_manifest, 0));
	cr_expect(eq(u64, n.bytes_put, 4));
	cr_expect(eq(u64, n.bytes_read, 10));
}

Test(object_store_fault, does_the_same_to_an_object_store)
{
	struct fault f = {.action = FAULT_CORRUPT, .nth = 2};
	struct object_store *s =
		object_store_fault_new(object_store_fake_new(), &f);
	struct pointer_uri uri = {
		.scheme = URI_S3, .container = "b", .key = "k"};
	struct digest d = digest_of_str(TEXT);
	struct feed_mem feed;
	struct sink_mem bad, good;

	feed_mem_init(&feed, TEXT, strlen(TEXT));
	cr_assert(eq(int, 0, s->ops->put(s, &uri, &feed.feed, &d, NULL, NULL)));
	sink_mem_init(&bad, 100);
	sink_mem_init(&good, 100);
	cr_expect(eq(int, 0,
		     s->ops->read(s, &uri, "", 0, 10, &bad.sink, NULL, NULL)));
	cr_expect(eq(int, 0,
		     s->ops->read(s, &uri, "", 0, 10, &good.sink, NULL, NULL)));
	cr_expect(eq(str, bad.buf, "1123456789"));
	cr_expect(eq(str, good.buf, TEXT));
	cr_expect(eq(uint, object_store_fault_calls(s), 3));
	free(bad.buf);
	free(good.buf);
	object_store_free(s);
}

Test(object_store_fault, fails_and_shortens)
{
	struct fault f = {.action = FAULT_SHORTEN, .nth = 2, .arg = 9};
	struct fault g = {.action = FAULT_FAIL, .nth = 1, .code = EACCES};
	struct pointer_uri uri = {
		.scheme = URI_GS, .container = "b", .key = "k"};
	struct object_store *s =
		object_store_fault_new(object_store_fake_new(), &f);
	struct digest d = digest_of_str(TEXT);
	struct object_info info;
	struct feed_mem feed;
	struct sink_mem out;

	feed_mem_init(&feed, TEXT, strlen(TEXT));
	sink_mem_init(&out, 100);
	cr_assert(eq(int, 0, s->ops->put(s, &uri, &feed.feed, &d, NULL, NULL)));
	cr_expect(eq(int, 0,
		     s->ops->read(s, &uri, "", 0, 10, &out.sink, NULL, NULL)));
	cr_expect(eq(str, out.buf, "0"));
	free(out.buf);
	object_store_free(s);
	s = object_store_fault_new(object_store_fake_new(), &g);
	cr_expect(eq(int, s->ops->stat(s, &uri, &info, NULL, NULL), -EACCES));
	cr_expect(eq(int, s->ops->stat(s, &uri, &info, NULL, NULL), -ENOENT));
	object_store_free(s);
}
