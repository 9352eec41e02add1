#include "engine/copy.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bundles.h"
#include "engine/copy_feed.h"
#include "engine/trace.h"
#include "engine/trace_referrer.h"
#include "tests/fakes/fakes.h"

#define SIZE (2 * (size_t)COPY_WINDOW + 1000)

/*
 * The feed.
 */

struct source {
	struct registry *reg;
	char *bytes;
	struct descriptor desc;
	struct copy_feed feed;
	char *got;
};

static void source_open(struct source *s, const struct fault *fault)
{
	struct registry *inner = registry_fake_new();
	struct feed_mem mem;

	*s = (struct source){.bytes = xmalloc(SIZE), .got = xmalloc(SIZE)};
	for (size_t i = 0; i < SIZE; i++)
		s->bytes[i] = (char)(i * 2654435761u >> 13);
	s->desc.digest = digest_of_buf(s->bytes, SIZE);
	s->desc.size = SIZE;
	feed_mem_init(&mem, s->bytes, SIZE);
	cr_assert(inner->ops->put_blob(inner, "a", &s->desc.digest, &mem.feed,
				       NULL, NULL) == 0);
	s->reg = registry_fault_new(inner, fault);
	copy_feed_init(&s->feed, s->reg, "a", &s->desc, NULL);
}

static void source_close(struct source *s)
{
	copy_feed_release(&s->feed);
	registry_free(s->reg);
	free(s->bytes);
	free(s->got);
}
#define cleanup_source __attribute__((cleanup(source_close)))

static int give(struct source *s, size_t off, size_t n)
{
	struct feed *f = &s->feed.feed;

	memset(s->got, 0, n);
	return f->pread(f, s->got, n, off, NULL);
}

static bool right(const struct source *s, size_t off, size_t n)
{
	return memcmp(s->got, s->bytes + off, n) == 0;
}

Test(copy_feed, gives_the_blob_each_byte_read_once)
{
	static const size_t piece = 1000003; /* across the windows */
	cleanup_source struct source s;

	source_open(&s, NULL);
	for (size_t off = 0; off < SIZE; off += piece) {
		size_t n = MIN(piece, SIZE - off);

		cr_assert(eq(int, give(&s, off, n), 0));
		cr_expect(right(&s, off, n));
	}
	cr_expect(eq(u64, registry_fault_counts(s.reg).bytes_read, SIZE));
	cr_assert(eq(int, give(&s, 5, 100), 0));
	cr_expect(right(&s, 5, 100), "a retry goes back");
}

Test(copy_feed, hashes_what_the_other_side_has_already)
{
	cleanup_source struct source s;

	source_open(&s, NULL);
	cr_assert(eq(int, give(&s, SIZE - 10, 10), 0));
	cr_expect(right(&s, SIZE - 10, 10));
	cr_expect(eq(u64, registry_fault_counts(s.reg).bytes_read, SIZE));
}

Test(copy_feed, never_gives_the_end_of_a_wrong_blob)
{
	const struct fault f = {FAULT_CORRUPT, .nth = 1, .every = false,
				.arg = 77};
	cleanup_source struct source s;

	source_open(&s, &f);
	cr_expect(eq(int, give(&s, 0, 2 * (size_t)COPY_WINDOW), 0));
	cr_expect(eq(int, give(&s, SIZE - 1000, 1), -EBADMSG));
	/* Begun anew, with what is right this time. */
	cr_expect(eq(int, give(&s, SIZE - 1000, 1000), 0));
	cr_expect(right(&s, SIZE - 1000, 1000));
}

Test(copy_feed, gives_no_two_contents)
{
	const struct fault f = {FAULT_CORRUPT, .nth = 3, .every = true};
	cleanup_source struct source s;

	source_open(&s, &f);
	cr_expect(eq(int, give(&s, 0, COPY_WINDOW + 1), 0));
	cr_expect(eq(int, give(&s, 0, 1), -EBADMSG), "the first window again");
}

Test(copy_feed, is_not_content_with_less)
{
	const struct fault f = {FAULT_SHORTEN, .nth = 2, .arg = 1};
	cleanup_source struct source s;

	source_open(&s, &f);
	cr_expect(eq(int, give(&s, 0, COPY_WINDOW), 0));
	cr_expect(eq(int, give(&s, COPY_WINDOW, 1), -EPROTO));
}

/*
 * The whole.
 */

static struct reference reference(const char *repo, const char *tag)
{
	return (struct reference){
		.registry = (char *)"far.example",
		.repo = (char *)repo,
		.tag = (char *)tag,
		.text = (char *)repo,
	};
}

Test(copy, takes_a_bundle_and_its_traces_along)
{
	const struct copy_options o = {0};
	cleanup_made_bundle struct made_bundle m;
	struct reference to = reference("other/name", "2");
	struct descriptor *found = NULL;
	struct descriptor subject = {0};
	struct copy_result c;
	struct digest trace, now;
	cleanup_error struct error *err = NULL;
	size_t n = 0;

	bundle_make(&m, NULL);
	subject = (struct descriptor){.media_type = MEDIA_TYPE_MANIFEST,
				      .digest = m.digest,
				      .size = 1};
	cr_assert(eq(int,
		     trace_attach(m.registry, BUNDLE_REPO, &subject, TRACE_HEAD,
				  strlen(TRACE_HEAD), &trace, NULL, NULL),
		     0));
	cr_assert(eq(int,
		     copy_artifact(m.session, &m.ref, &to, &o, &c, NULL, &err),
		     0),
		  "%s", err ? err->message : "");
	cr_expect(digest_equal(&c.digest, &m.digest));
	cr_expect(eq(u64, c.blobs_mounted, c.blobs), "within one registry");
	cr_expect(eq(u64, c.blobs_sent, 0));
	cr_expect(eq(u64, c.referrers, 1));
	cr_assert(eq(int,
		     m.registry->ops->resolve(m.registry, "other/name", "2",
					      &now, NULL, NULL),
		     0));
	cr_expect(digest_equal(&now, &m.digest));
	cr_assert(eq(int,
		     m.registry->ops->referrers(m.registry, "other/name",
						&m.digest, NULL, &found, &n,
						NULL, NULL),
		     0));
	cr_assert(eq(sz, n, 1));
	cr_expect(digest_equal(&found[0].digest, &trace));
	descriptors_free(found, n);
}

/* It says another size of a blob of the bundle. */
static void attach_bad(const struct made_bundle *m)
{
	cleanup_free char *doc = xasprintf(
		"{\"artifactType\":\"application/x\",\"config\":{\"digest\":"
		"\"%s\",\"mediaType\":\"application/x\",\"size\":1},"
		"\"layers\":[],\"mediaType\":\"" MEDIA_TYPE_MANIFEST
		"\",\"schemaVersion\":2,\"subject\":{\"digest\":\"%s\","
		"\"mediaType\":\"" MEDIA_TYPE_MANIFEST "\",\"size\":1}}",
		digest_to_str(&m->big).str, digest_to_str(&m->digest).str);

	cr_assert(eq(int,
		     m->registry->ops->put_manifest(
			     m->registry, BUNDLE_REPO, NULL,
			     MEDIA_TYPE_MANIFEST, doc, strlen(doc), NULL, NULL),
		     0));
}

static bool has_blob(const struct made_bundle *m, const struct digest *d)
{
	uint64_t size;

	return m->registry->ops->has_blob(m->registry, "other/name", d, &size,
					  NULL, NULL) == 1 &&
	       size > 1;
}

Test(copy, a_bad_referrer_is_left_out)
{
	const struct copy_options o = {0};
	cleanup_made_bundle struct made_bundle m;
	struct reference to = reference("other/name", "2");
	cleanup_error struct error *err = NULL;
	struct descriptor subject = {0};
	struct copy_result c;
	struct digest trace;

	bundle_make(&m, NULL);
	subject = (struct descriptor){.media_type = MEDIA_TYPE_MANIFEST,
				      .digest = m.digest,
				      .size = 1};
	attach_bad(&m);
	cr_assert(eq(int,
		     trace_attach(m.registry, BUNDLE_REPO, &subject, TRACE_HEAD,
				  strlen(TRACE_HEAD), &trace, NULL, NULL),
		     0));
	cr_assert(eq(int,
		     copy_artifact(m.session, &m.ref, &to, &o, &c, NULL, &err),
		     0),
		  "%s", err ? err->message : "");
	cr_expect(eq(u64, c.referrers, 1), "the trace");
	cr_expect(has_blob(&m, &m.big));
}

Test(copy, a_dry_run_puts_nothing)
{
	const struct copy_options o = {.dry_run = true};
	cleanup_made_bundle struct made_bundle m;
	struct reference to = reference("other/name", "2");
	struct registry_counts before, after;
	struct copy_result c;
	struct digest now;

	bundle_make(&m, NULL);
	before = registry_fault_counts(m.registry);
	cr_assert(eq(int,
		     copy_artifact(m.session, &m.ref, &to, &o, &c, NULL, NULL),
		     0));
	after = registry_fault_counts(m.registry);
	cr_expect(eq(u64, c.blobs_sent, c.blobs));
	cr_expect(c.tag_moved);
	cr_expect(before.put_blob == after.put_blob &&
		  before.put_manifest == after.put_manifest &&
		  before.mount_blob == after.mount_blob);
	cr_expect(eq(int,
		     m.registry->ops->resolve(m.registry, "other/name", "2",
					      &now, NULL, NULL),
		     -ENOENT));
}

Test(copy, of_what_is_not_there_says_so)
{
	const struct copy_options o = {0};
	cleanup_made_bundle struct made_bundle m;
	cleanup_error struct error *err = NULL;
	struct reference from = reference("no/such", "1");
	struct reference to = reference("other/name", "2");
	struct copy_result c;

	bundle_make(&m, NULL);
	cr_assert(eq(int,
		     copy_artifact(m.session, &from, &to, &o, &c, NULL, &err),
		     -ENOENT));
	cr_expect(eq(int, err->kind, ERROR_NOT_FOUND));
}
