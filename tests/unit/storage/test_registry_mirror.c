#include "storage/registry_mirror.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/alloc.h"
#include "tests/fakes/fakes.h"

#define TEXT "0123456789"

static struct registry *reg, *upstream, *mirrors[2]; /* all but @reg count */
static struct digest id;

static void put(struct registry *r, const char *repo)
{
	struct feed_mem feed;

	feed_mem_init(&feed, TEXT, strlen(TEXT));
	cr_assert(eq(int,
		     r->ops->put_blob(r, repo, &id, &feed.feed, NULL, NULL),
		     0));
}

/* @first, which may be NULL, acts on the first mirror. */
static void arm(const struct fault *first)
{
	struct registry_mirror *list = xcalloc(2, sizeof(*list));
	struct registry *inner = registry_fake_new();

	id = digest_of_str(TEXT);
	put(inner, "a/x");
	mirrors[0] = registry_fault_new(inner, first);
	mirrors[1] = registry_fault_new(registry_fake_new(), NULL);
	upstream = registry_fault_new(registry_fake_new(), NULL);
	list[0] = (struct registry_mirror){mirrors[0], xstrdup("a")};
	list[1] = (struct registry_mirror){mirrors[1], NULL};
	reg = registry_mirrored_new(upstream, &list, 2);
	cr_assert(eq(ptr, list, NULL));
}

static void disarm(void)
{
	registry_free(reg);
}

TestSuite(registry_mirror, .fini = disarm);

static int read_from(uint64_t off, const char *want)
{
	struct sink_mem s;
	int r;

	sink_mem_init(&s, 100);
	r = reg->ops->read_blob(reg, "x", &id, strlen(TEXT), off,
				strlen(TEXT) - off, &s.sink, NULL, NULL);
	cr_expect(eq(str, s.buf ? s.buf : "", want));
	free(s.buf);
	return r;
}

static unsigned reads(struct registry *r)
{
	return registry_fault_counts(r).read_blob;
}

Test(registry_mirror, gives_content_in_place_of_the_registry)
{
	arm(NULL);
	cr_expect(eq(int, read_from(0, TEXT), 0));
	cr_expect(eq(int, read_from(5, "56789"), 0));
	cr_expect(eq(uint, reads(mirrors[0]), 2));
	cr_expect(eq(uint, reads(mirrors[1]), 0));
	cr_expect(eq(uint, reads(upstream), 0));
}

Test(registry_mirror, is_not_asked_twice_for_bytes_that_were_wrong)
{
	const struct fault corrupt = {FAULT_CORRUPT, .nth = 1, .every = true};

	arm(&corrupt);
	put(upstream, "x");
	cr_expect(eq(int, read_from(0, "1123456789"), 0), "for the reader");
	cr_expect(eq(int, read_from(0, TEXT), 0), "who hashes, asks again");
	cr_expect(eq(uint, reads(mirrors[0]), 1));
	cr_expect(eq(uint, reads(upstream), 1));
}

Test(registry_mirror, that_fails_is_left_alone_for_a_while)
{
	const struct fault fail = {FAULT_FAIL, .nth = 1, .every = true,
				   .code = ETIMEDOUT};

	arm(&fail);
	put(mirrors[1], "x");
	for (uint64_t off = 0; off < 4; off++)
		cr_expect(eq(int, read_from(off, &TEXT[off]), 0));
	cr_expect(eq(uint, reads(mirrors[0]), 1));
	cr_expect(eq(uint, reads(mirrors[1]), 4));
	cr_expect(eq(uint, reads(upstream), 0));
}

Test(registry_mirror, that_lacks_something_is_asked_for_other_things)
{
	struct digest other = digest_of_str("other");
	struct sink_mem s;

	arm(NULL);
	sink_mem_init(&s, 100);
	cr_expect(eq(int,
		     reg->ops->read_blob(reg, "x", &other, 5, 0, 5, &s.sink,
					 NULL, NULL),
		     -ENOENT));
	cr_expect(eq(uint, reads(upstream), 1), "the registry was asked last");
	cr_expect(eq(int, read_from(0, TEXT), 0));
	cr_expect(eq(uint, reads(mirrors[0]), 2));
	free(s.buf);
}

static struct registry_ops breaking_ops;

static int break_off(struct registry *r, const char *repo,
		     const struct digest *d, uint64_t size, uint64_t off,
		     uint64_t len, struct sink *sink, const struct op *op,
		     struct error **errp)
{
	int rc = sink->write(sink, &TEXT[off], 4, errp);

	return rc < 0 ? rc : error_set(errp, EIO, "broken");
}

static void leave(struct registry *r)
{
}

Test(registry_mirror, that_breaks_off_is_continued_by_the_next)
{
	struct registry_mirror *list = xcalloc(1, sizeof(*list));
	static struct registry breaking = {.ops = &breaking_ops};

	breaking_ops.read_blob = break_off;
	breaking_ops.free = leave;
	id = digest_of_str(TEXT);
	list[0].registry = &breaking;
	upstream = registry_fault_new(registry_fake_new(), NULL);
	put(upstream, "x");
	reg = registry_mirrored_new(upstream, &list, 1);
	cr_expect(eq(int, read_from(1, "123456789"), 0));
	cr_expect(eq(u64, registry_fault_counts(upstream).bytes_read, 5));
}

Test(registry_mirror, knows_nothing_of_tags_and_pushes)
{
	struct digest d;

	arm(NULL);
	put(reg, "x");
	reg->ops->has_blob(reg, "x", &id, NULL, NULL, NULL);
	reg->ops->resolve(reg, "x", "t", &d, NULL, NULL);
	cr_expect(eq(uint, registry_fault_counts(upstream).put_blob, 1));
	cr_expect(eq(uint, registry_fault_counts(upstream).has_blob, 1));
	cr_expect(eq(uint, registry_fault_counts(upstream).resolve, 1));
	cr_expect(eq(uint, registry_fault_counts(mirrors[0]).put_blob, 0));
	cr_expect(eq(uint, registry_fault_counts(mirrors[0]).has_blob, 0));
	cr_expect(eq(uint, registry_fault_counts(mirrors[0]).resolve, 0));
}
