#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "tests/conformance/conformance.h"

#define BIG ((size_t)20 << 20)

static int put(struct registry_fixture *f, const struct digest *d,
	       struct feed *feed, const struct op *op, struct error **errp)
{
	return f->r->ops->put_blob(f->r, f->repo, d, feed, op, errp);
}

static int has(struct registry_fixture *f, const struct digest *d,
	       uint64_t *size, struct error **errp)
{
	return f->r->ops->has_blob(f->r, f->repo, d, size, NULL, errp);
}

static int read_range(struct registry_fixture *f, const struct digest *d,
		      uint64_t size, uint64_t off, uint64_t len,
		      struct sink *sink, const struct op *op,
		      struct error **errp)
{
	return f->r->ops->read_blob(f->r, f->repo, d, size, off, len, sink, op,
				    errp);
}

static void returns_what_was_put(struct conformance *c,
				 struct registry_fixture *f)
{
	cleanup_free char *p = conformance_bytes("whole", 100000);
	struct digest d = put_bytes(c, f->r, f->repo, p, 100000);
	cleanup_error struct error *err = NULL;
	cleanup_probe_sink struct probe_sink s = {0};
	uint64_t size = 0;
	struct digest got;

	check_code(c, has(f, &d, &size, &err), 1, err);
	check(c, size == 100000, "size %llu", (unsigned long long)size);
	check_code(c, has(f, &d, NULL, &err), 1, err);
	probe_sink_init(&s);
	check_code(c, read_range(f, &d, size, 0, size, &s.sink, NULL, &err), 0,
		   err);
	got = probe_sink_digest(&s);
	check(c, digest_equal(&got, &d), "other bytes came back");
}

static void stores_an_empty_blob(struct conformance *c,
				 struct registry_fixture *f)
{
	struct digest d = put_bytes(c, f->r, f->repo, "", 0);
	cleanup_error struct error *err = NULL;
	uint64_t size = 1;

	check_code(c, has(f, &d, &size, &err), 1, err);
	check(c, size == 0, "size %llu", (unsigned long long)size);
}

static void stores_a_blob_twice(struct conformance *c,
				struct registry_fixture *f)
{
	cleanup_free char *p = conformance_bytes("twice", 3000);

	put_bytes(c, f->r, f->repo, p, 3000);
	put_bytes(c, f->r, f->repo, p, 3000);
}

static void lacks_an_absent_blob(struct conformance *c,
				 struct registry_fixture *f)
{
	cleanup_free char *p = conformance_bytes("absent", 64);
	cleanup_error struct error *err = NULL;
	cleanup_probe_sink struct probe_sink s = {0};
	struct digest d = digest_of_buf(p, 64);

	/* In a repository that there is, too. */
	check_code(c, has(f, &d, NULL, &err), 0, err);
	put_bytes(c, f->r, f->repo, "there", 5);
	check_code(c, has(f, &d, NULL, &err), 0, err);
	probe_sink_init(&s);
	check_code(c, read_range(f, &d, 64, 0, 64, &s.sink, NULL, &err),
		   -ENOENT, err);
	check(c, s.bytes == 0, "bytes of a blob that is not there");
}

static void check_one_range(struct conformance *c, struct registry_fixture *f,
			    const struct digest *d, const char *p,
			    uint64_t size, uint64_t off, uint64_t len)
{
	struct digest want = digest_of_buf(p + off, (size_t)len), got;
	cleanup_error struct error *err = NULL;
	cleanup_probe_sink struct probe_sink s = {0};

	probe_sink_init(&s);
	check_code(c, read_range(f, d, size, off, len, &s.sink, NULL, &err), 0,
		   err);
	got = probe_sink_digest(&s);
	check(c, s.bytes == len && digest_equal(&got, &want),
	      "range %llu+%llu: %llu bytes, %s", (unsigned long long)off,
	      (unsigned long long)len, (unsigned long long)s.bytes,
	      digest_equal(&got, &want) ? "right" : "wrong");
}

static void reads_ranges_at_all_boundaries(struct conformance *c,
					   struct registry_fixture *f)
{
	/* Around the pieces in which bytes may travel. */
	static const uint64_t at[] = {0,      1,      4095,  4096,
				      65535,  65536,  65537, 262143,
				      262144, 262145, 300000};
	const uint64_t size = 300001;
	cleanup_free char *p = conformance_bytes("ranges", 300001);
	struct digest d = put_bytes(c, f->r, f->repo, p, 300001);
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(at); i++) {
		check_one_range(c, f, &d, p, size, at[i], 1);
		check_one_range(c, f, &d, p, size, at[i], size - at[i]);
		for (j = i + 1; j < ARRAY_SIZE(at); j += 3)
			check_one_range(c, f, &d, p, size, at[i],
					at[j] - at[i]);
	}
}

static void refuses_another_size(struct conformance *c,
				 struct registry_fixture *f)
{
	cleanup_free char *p = conformance_bytes("size", 1000);
	struct digest d = put_bytes(c, f->r, f->repo, p, 1000);
	cleanup_error struct error *bigger = NULL, *smaller = NULL;
	cleanup_probe_sink struct probe_sink s = {0};

	probe_sink_init(&s);
	check_code(c, read_range(f, &d, 2000, 0, 2000, &s.sink, NULL, &bigger),
		   -EPROTO, bigger);
	check_code(c, read_range(f, &d, 500, 0, 500, &s.sink, NULL, &smaller),
		   -EPROTO, smaller);
}

static void refuses_wrong_content_and_keeps_nothing(struct conformance *c,
						    struct registry_fixture *f)
{
	cleanup_free char *p = conformance_bytes("truth", 5000);
	cleanup_error struct error *err = NULL;
	struct digest d = digest_of_buf(p, 5000);
	struct feed_mem feed;

	p[4999] ^= 1;
	feed_mem_init(&feed, p, 5000);
	check_code(c, put(f, &d, &feed.feed, NULL, &err), -EBADMSG, err);
	check_code(c, has(f, &d, NULL, NULL), 0, err);
	p[4999] ^= 1;
	put_bytes(c, f->r, f->repo, p, 5000);
	check_code(c, has(f, &d, NULL, NULL), 1, err);
}

static void streams_a_big_blob(struct conformance *c,
			       struct registry_fixture *f)
{
	cleanup_free char *p = conformance_bytes("big", BIG);
	struct digest d = digest_of_buf(p, BIG), got;
	cleanup_error struct error *err = NULL;
	cleanup_probe_sink struct probe_sink s = {0};
	struct probe_feed feed;

	probe_feed_init(&feed, p, BIG);
	check_code(c, put(f, &d, &feed.feed, NULL, &err), 0, err);
	probe_sink_init(&s);
	check_code(c, read_range(f, &d, BIG, 0, BIG, &s.sink, NULL, &err), 0,
		   err);
	got = probe_sink_digest(&s);
	check(c, digest_equal(&got, &d), "other bytes came back");
	check(c, s.biggest <= (4u << 20) && feed.biggest <= (4u << 20),
	      "pieces of %zu and %zu bytes are no streaming", s.biggest,
	      feed.biggest);
}

static void stops_when_the_sink_fails(struct conformance *c,
				      struct registry_fixture *f)
{
	const size_t n = (size_t)8 << 20;
	cleanup_free char *p = conformance_bytes("sink", n);
	struct digest d = put_bytes(c, f->r, f->repo, p, n);
	cleanup_error struct error *err = NULL;
	cleanup_probe_sink struct probe_sink s = {0};

	probe_sink_init(&s);
	s.at = 2;
	s.code = ENOSPC;
	check_code(c, read_range(f, &d, n, 0, n, &s.sink, NULL, &err), -ENOSPC,
		   err);
	check(c, s.writes == 2, "%u writes", s.writes);
}

static void stops_when_the_feed_fails(struct conformance *c,
				      struct registry_fixture *f)
{
	const size_t n = (size_t)3 << 20;
	cleanup_free char *p = conformance_bytes("feed", n);
	struct digest d = digest_of_buf(p, n);
	cleanup_error struct error *err = NULL;
	struct probe_feed feed;

	probe_feed_init(&feed, p, n);
	feed.fail_from = (uint64_t)2 << 20;
	feed.code = ENODEV;
	check_code(c, put(f, &d, &feed.feed, NULL, &err), -ENODEV, err);
	check_code(c, has(f, &d, NULL, NULL), 0, err);
}

static void ends_when_cancelled(struct conformance *c,
				struct registry_fixture *f)
{
	const size_t n = (size_t)8 << 20;
	cleanup_free char *p = conformance_bytes("cancel", n);
	struct digest d = put_bytes(c, f->r, f->repo, p, n);
	cleanup_error struct error *middle = NULL, *read = NULL, *write = NULL;
	cleanup_probe_sink struct probe_sink s = {0};
	atomic_bool stop = false;
	struct op op = OP_INIT;
	struct probe_feed feed;

	op.cancelled = &stop;
	probe_sink_init(&s);
	s.at = 2;
	s.to_set = &stop;
	check_code(c, read_range(f, &d, n, 0, n, &s.sink, &op, &middle),
		   -ECANCELED, middle);
	check(c, s.bytes < n, "all was read although it was cancelled");
	check_code(c, read_range(f, &d, n, 0, n, &s.sink, &op, &read),
		   -ECANCELED, read);
	p[0] ^= 1;
	d = digest_of_buf(p, n);
	probe_feed_init(&feed, p, n);
	check_code(c, put(f, &d, &feed.feed, &op, &write), -ECANCELED, write);
	check_code(c, has(f, &d, NULL, NULL), 0, write);
}

static void ends_at_its_deadline(struct conformance *c,
				 struct registry_fixture *f)
{
	cleanup_free char *p = conformance_bytes("late", 1000);
	struct digest d = put_bytes(c, f->r, f->repo, p, 1000);
	cleanup_error struct error *read = NULL, *write = NULL;
	cleanup_probe_sink struct probe_sink s = {0};
	struct op op = {.deadline_ns = time_mono_ns() - 1};
	struct feed_mem feed;

	probe_sink_init(&s);
	check_code(c, read_range(f, &d, 1000, 0, 1000, &s.sink, &op, &read),
		   -ETIMEDOUT, read);
	p[0] ^= 1;
	d = digest_of_buf(p, 1000);
	feed_mem_init(&feed, p, 1000);
	check_code(c, put(f, &d, &feed.feed, &op, &write), -ETIMEDOUT, write);
}

static void counts_bytes(struct conformance *c, struct registry_fixture *f)
{
	cleanup_free char *p = conformance_bytes("count", 70000);
	struct digest d = digest_of_buf(p, 70000);
	cleanup_error struct error *err = NULL;
	cleanup_probe_sink struct probe_sink s = {0};
	atomic_uint_fast64_t in = 0, out = 0;
	struct op op = OP_INIT;
	struct feed_mem feed;

	op.bytes_in = &in;
	op.bytes_out = &out;
	feed_mem_init(&feed, p, 70000);
	check_code(c, put(f, &d, &feed.feed, &op, &err), 0, err);
	check(c, atomic_load(&out) >= 70000, "%llu bytes out",
	      (unsigned long long)atomic_load(&out));
	probe_sink_init(&s);
	check_code(c, read_range(f, &d, 70000, 5, 60000, &s.sink, &op, &err), 0,
		   err);
	check(c, atomic_load(&in) >= 60000, "%llu bytes in",
	      (unsigned long long)atomic_load(&in));
}

static void mounts_a_blob_of_another_repository(struct conformance *c,
						struct registry_fixture *f)
{
	cleanup_free char *other = xasprintf("%s-other", f->repo);
	cleanup_free char *p = conformance_bytes("mount", 2000);
	cleanup_error struct error *err = NULL;
	struct digest d = put_bytes(c, f->r, other, p, 2000);
	struct digest absent = digest_of_str(f->repo);
	int r;

	r = f->r->ops->mount_blob(f->r, f->repo, other, &d, NULL, &err);
	check(c, r == 0 || r == 1, "got %d", r);
	if (r == 1)
		check_code(c, has(f, &d, NULL, &err), 1, err);
	check_code(c,
		   f->r->ops->mount_blob(f->r, f->repo, other, &absent, NULL,
					 &err),
		   0, err);
}

const struct registry_case registry_blob_cases[] = {
	{"returns the blob that was put", returns_what_was_put},
	{"stores an empty blob", stores_an_empty_blob},
	{"stores a blob twice", stores_a_blob_twice},
	{"lacks a blob that nobody put", lacks_an_absent_blob},
	{"reads ranges at all boundaries", reads_ranges_at_all_boundaries},
	{"refuses a blob of another size", refuses_another_size},
	{"refuses content of another digest and keeps nothing",
	 refuses_wrong_content_and_keeps_nothing},
	{"streams a big blob", streams_a_big_blob},
	{"ends a read when the sink fails", stops_when_the_sink_fails},
	{"ends a put when the feed fails", stops_when_the_feed_fails},
	{"ends when cancelled", ends_when_cancelled},
	{"ends at its deadline", ends_at_its_deadline},
	{"counts bytes both ways", counts_bytes},
	{"mounts a blob of another repository",
	 mounts_a_blob_of_another_repository},
	{NULL, NULL},
};
