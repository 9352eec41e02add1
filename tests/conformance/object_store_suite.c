#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "tests/conformance/conformance.h"

#define BIG     ((size_t)20 << 20)
#define THREADS 8

struct object_fixture {
	struct object_store *s;
	struct pointer_uri uri; /* of an object that nobody has made */
};

struct object_case {
	const char *name;
	void (*run)(struct conformance *c, struct object_fixture *f);
};

static int put(struct object_fixture *f, const char *p, size_t n,
	       struct error **errp)
{
	struct digest d = digest_of_buf(p, n);
	struct feed_mem feed;

	feed_mem_init(&feed, p, n);
	return f->s->ops->put(f->s, &f->uri, &feed.feed, &d, NULL, errp);
}

static void must_put(struct conformance *c, struct object_fixture *f,
		     const char *p, size_t n)
{
	cleanup_error struct error *err = NULL;

	check_code(c, put(f, p, n, &err), 0, err);
}

static int look(struct object_fixture *f, struct object_info *ret,
		struct error **errp)
{
	memset(ret, 0, sizeof(*ret));
	return f->s->ops->stat(f->s, &f->uri, ret, NULL, errp);
}

static int read_range(struct object_fixture *f, const char *validator,
		      uint64_t off, uint64_t len, struct sink *sink,
		      const struct op *op, struct error **errp)
{
	return f->s->ops->read(f->s, &f->uri, validator, off, len, sink, op,
			       errp);
}

static void check_range(struct conformance *c, struct object_fixture *f,
			const char *validator, const char *p, uint64_t off,
			uint64_t len)
{
	struct digest want = digest_of_buf(p + off, (size_t)len), got;
	cleanup_error struct error *err = NULL;
	cleanup_probe_sink struct probe_sink s = {0};

	probe_sink_init(&s);
	check_code(c, read_range(f, validator, off, len, &s.sink, NULL, &err),
		   0, err);
	got = probe_sink_digest(&s);
	check(c, s.bytes == len && digest_equal(&got, &want),
	      "range %llu+%llu is wrong", (unsigned long long)off,
	      (unsigned long long)len);
}

static void tells_about_an_object(struct conformance *c,
				  struct object_fixture *f)
{
	cleanup_free char *p = conformance_bytes("stat", 12345);
	cleanup_error struct error *err = NULL;
	struct digest d = digest_of_buf(p, 12345);
	struct object_info info, again;

	must_put(c, f, p, 12345);
	check_code(c, look(f, &info, &err), 0, err);
	check(c, info.size == 12345, "size %llu",
	      (unsigned long long)info.size);
	check(c, !info.has_sha256 || digest_equal(&info.sha256, &d),
	      "another SHA-256");
	check_code(c, look(f, &again, &err), 0, err);
	check(c, strcmp(info.validator, again.validator) == 0,
	      "the validator changed by itself");
}

static void lacks_an_absent_object(struct conformance *c,
				   struct object_fixture *f)
{
	cleanup_error struct error *e1 = NULL, *e2 = NULL, *e3 = NULL;
	cleanup_probe_sink struct probe_sink s = {0};
	struct object_info info;

	probe_sink_init(&s);
	check_code(c, look(f, &info, &e1), -ENOENT, e1);
	check_code(c, read_range(f, "", 0, 1, &s.sink, NULL, &e2), -ENOENT, e2);
	check_code(c, f->s->ops->remove(f->s, &f->uri, NULL, &e3), -ENOENT, e3);
}

static void reads_ranges_at_all_boundaries(struct conformance *c,
					   struct object_fixture *f)
{
	static const uint64_t at[] = {0,     1,      4096,   65535,  65536,
				      65537, 262143, 262144, 262145, 300000};
	const uint64_t size = 300001;
	cleanup_free char *p = conformance_bytes("ranges", 300001);
	struct object_info info;
	size_t i, j;

	must_put(c, f, p, 300001);
	check(c, look(f, &info, NULL) == 0, "stat");
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		check_range(c, f, "", p, at[i], 1);
		check_range(c, f, info.validator, p, at[i], size - at[i]);
		for (j = i + 1; j < ARRAY_SIZE(at); j += 3)
			check_range(c, f, info.validator, p, at[i],
				    at[j] - at[i]);
	}
}

static void refuses_a_range_beyond_the_end(struct conformance *c,
					   struct object_fixture *f)
{
	cleanup_free char *p = conformance_bytes("end", 1000);
	cleanup_error struct error *e1 = NULL, *e2 = NULL;
	cleanup_probe_sink struct probe_sink s = {0};

	must_put(c, f, p, 1000);
	probe_sink_init(&s);
	check_code(c, read_range(f, "", 1000, 1, &s.sink, NULL, &e1), -EPROTO,
		   e1);
	check_code(c, read_range(f, "", 999, 2, &s.sink, NULL, &e2), -EPROTO,
		   e2);
}

static void takes_the_same_object_twice(struct conformance *c,
					struct object_fixture *f)
{
	cleanup_free char *p = conformance_bytes("twice", 5000);
	struct object_info a, b;

	must_put(c, f, p, 5000);
	check(c, look(f, &a, NULL) == 0, "stat");
	must_put(c, f, p, 5000);
	check(c, look(f, &b, NULL) == 0, "stat");
	check(c, strcmp(a.validator, b.validator) == 0,
	      "the second put wrote a new object");
}

static void overwrites_nothing(struct conformance *c, struct object_fixture *f)
{
	cleanup_free char *p = conformance_bytes("one", 5000);
	cleanup_free char *q = conformance_bytes("another", 5000);
	cleanup_error struct error *same = NULL, *shorter = NULL;

	must_put(c, f, p, 5000);
	check_code(c, put(f, q, 5000, &same), -EEXIST, same);
	check_code(c, put(f, q, 4000, &shorter), -EEXIST, shorter);
	check_range(c, f, "", p, 0, 5000);
}

static void refuses_wrong_content_and_keeps_nothing(struct conformance *c,
						    struct object_fixture *f)
{
	cleanup_free char *p = conformance_bytes("truth", 5000);
	cleanup_error struct error *err = NULL, *gone = NULL;
	struct digest d = digest_of_buf(p, 5000);
	struct object_info info;
	struct feed_mem feed;

	p[17] ^= 1;
	feed_mem_init(&feed, p, 5000);
	check_code(c, f->s->ops->put(f->s, &f->uri, &feed.feed, &d, NULL, &err),
		   -EBADMSG, err);
	check_code(c, look(f, &info, &gone), -ENOENT, gone);
}

static void removes_an_object(struct conformance *c, struct object_fixture *f)
{
	cleanup_error struct error *err = NULL, *gone = NULL;
	struct object_info info;

	must_put(c, f, "x", 1);
	check_code(c, f->s->ops->remove(f->s, &f->uri, NULL, &err), 0, err);
	check_code(c, look(f, &info, &gone), -ENOENT, gone);
}

static void notices_another_object(struct conformance *c,
				   struct object_fixture *f)
{
	cleanup_free char *p = conformance_bytes("before", 5000);
	cleanup_free char *q = conformance_bytes("after", 5000);
	cleanup_error struct error *err = NULL;
	cleanup_probe_sink struct probe_sink s = {0};
	struct object_info info;

	must_put(c, f, p, 5000);
	check(c, look(f, &info, NULL) == 0, "stat");
	if (!info.validator[0]) {
		conformance_skip(c, "this store has no validators");
		return;
	}
	check(c, f->s->ops->remove(f->s, &f->uri, NULL, NULL) == 0, "remove");
	must_put(c, f, q, 5000);
	probe_sink_init(&s);
	check_code(c,
		   read_range(f, info.validator, 0, 5000, &s.sink, NULL, &err),
		   -ESTALE, err);
	check_range(c, f, "", q, 0, 5000);
}

static void streams_a_big_object(struct conformance *c,
				 struct object_fixture *f)
{
	cleanup_free char *p = conformance_bytes("big object", BIG);
	struct digest d = digest_of_buf(p, BIG), got;
	cleanup_error struct error *err = NULL;
	cleanup_probe_sink struct probe_sink s = {0};
	struct probe_feed feed;

	probe_feed_init(&feed, p, BIG);
	check_code(c, f->s->ops->put(f->s, &f->uri, &feed.feed, &d, NULL, &err),
		   0, err);
	probe_sink_init(&s);
	check_code(c, read_range(f, "", 0, BIG, &s.sink, NULL, &err), 0, err);
	got = probe_sink_digest(&s);
	check(c, digest_equal(&got, &d), "other bytes came back");
	check(c, s.biggest <= (4u << 20) && feed.biggest <= (4u << 20),
	      "pieces of %zu and %zu bytes are no streaming", s.biggest,
	      feed.biggest);
}

static void stops_when_a_stream_fails(struct conformance *c,
				      struct object_fixture *f)
{
	const size_t n = (size_t)8 << 20;
	cleanup_free char *p = conformance_bytes("streams", n);
	struct digest d = digest_of_buf(p, n);
	cleanup_error struct error *in = NULL, *out = NULL;
	cleanup_probe_sink struct probe_sink s = {0};
	struct object_info info;
	struct probe_feed feed;

	probe_feed_init(&feed, p, n);
	feed.fail_from = (uint64_t)6 << 20;
	feed.code = ENODEV;
	check_code(c, f->s->ops->put(f->s, &f->uri, &feed.feed, &d, NULL, &in),
		   -ENODEV, in);
	check_code(c, look(f, &info, NULL), -ENOENT, in);
	must_put(c, f, p, n);
	probe_sink_init(&s);
	s.at = 2;
	s.code = ENOSPC;
	check_code(c, read_range(f, "", 0, n, &s.sink, NULL, &out), -ENOSPC,
		   out);
	check(c, s.writes == 2, "%u writes", s.writes);
}

static void ends_when_cancelled(struct conformance *c, struct object_fixture *f)
{
	const size_t n = (size_t)8 << 20;
	cleanup_free char *p = conformance_bytes("cancel", n);
	cleanup_error struct error *err = NULL;
	cleanup_probe_sink struct probe_sink s = {0};
	atomic_bool stop = false;
	struct op op = OP_INIT;

	op.cancelled = &stop;
	must_put(c, f, p, n);
	probe_sink_init(&s);
	s.at = 1;
	s.to_set = &stop;
	check_code(c, read_range(f, "", 0, n, &s.sink, &op, &err), -ECANCELED,
		   err);
	check(c, s.bytes < n, "all was read although it was cancelled");
}

struct race {
	struct object_fixture *f;
	const char *p;
	size_t n;
};

static int put_same(void *ctx, unsigned i)
{
	struct race *race = ctx;

	return put(race->f, race->p, race->n, NULL);
}

static void takes_one_object_from_many_threads(struct conformance *c,
					       struct object_fixture *f)
{
	cleanup_free char *p = conformance_bytes("race", 500000);
	struct race race = {.f = f, .p = p, .n = 500000};
	int bad = conformance_threads(THREADS, put_same, &race);

	check(c, bad == 0, "%d of %d puts failed", bad, THREADS);
	check_range(c, f, "", p, 0, 500000);
}

static const struct object_case cases[] = {
	{"tells about an object", tells_about_an_object},
	{"lacks an object that nobody put", lacks_an_absent_object},
	{"reads ranges at all boundaries", reads_ranges_at_all_boundaries},
	{"refuses a range beyond the end", refuses_a_range_beyond_the_end},
	{"takes the same object twice", takes_the_same_object_twice},
	{"overwrites nothing", overwrites_nothing},
	{"refuses content of another digest and keeps nothing",
	 refuses_wrong_content_and_keeps_nothing},
	{"removes an object", removes_an_object},
	{"notices that an object was replaced", notices_another_object},
	{"streams a big object", streams_a_big_object},
	{"ends when a stream fails", stops_when_a_stream_fails},
	{"ends when cancelled", ends_when_cancelled},
	{"takes one object from eight threads",
	 takes_one_object_from_many_threads},
	{NULL, NULL},
};

void conformance_object_store(struct conformance *c, struct object_store *s,
			      const char *base)
{
	const struct object_case *k;

	for (k = cases; k->name; k++) {
		cleanup_free char *text = xasprintf(
			"%s/%s/%d/obj", base, conformance_run_id(), c->cases);
		cleanup_error struct error *err = NULL;
		struct object_fixture f = {.s = s};

		conformance_begin(c);
		if (pointer_uri_parse(text, strlen(text), &f.uri, &err) < 0) {
			check(c, false, "'%s': %s", text, err->message);
		} else {
			k->run(c, &f);
			s->ops->remove(s, &f.uri, NULL, NULL);
			pointer_uri_release(&f.uri);
		}
		conformance_end(c, k->name);
	}
}
