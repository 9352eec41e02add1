#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <unistd.h>

#include "fetching.h"

#define MIB ((uint64_t)CHUNK_SIZE)

Test(fetch, a_random_read_costs_one_chunk)
{
	cleanup_fetching struct fetching t;
	cleanup_source struct source s;

	fetching_open(&t, NULL);
	source_init(&s, 20 * MIB + 77, 1);
	upload(&t, s.data, s.spec.size);
	struct fetch_source *src = open_source(&t, &s);

	int r = read_and_compare(&t, src, &s, 10 * MIB + 5, 65536, NULL);
	cr_assert(eq(int, r, 0));
	cr_expect(eq(u64, bytes_asked(&t), MIB));
	cr_expect(eq(uint, requests(&t), 1));
	fetch_source_close(src);
}

Test(fetch, neighbours_come_in_one_request)
{
	cleanup_fetching struct fetching t;
	cleanup_source struct source s;

	fetching_open(&t, NULL);
	source_init(&s, 20 * MIB, 2);
	upload(&t, s.data, s.spec.size);
	struct fetch_source *src = open_source(&t, &s);

	int r = read_and_compare(&t, src, &s, 3 * MIB - 10, 2 * MIB, NULL);
	cr_assert(eq(int, r, 0));
	cr_expect(eq(u64, bytes_asked(&t), 3 * MIB));
	cr_expect(eq(uint, requests(&t), 1));
	fetch_source_close(src);
}

Test(fetch, try_read_says_what_is_missing_and_never_asks)
{
	cleanup_fetching struct fetching t;
	cleanup_source struct source s;
	unsigned char buf[100];

	fetching_open(&t, NULL);
	source_init(&s, 2 * MIB, 3);
	upload(&t, s.data, s.spec.size);
	struct fetch_source *src = open_source(&t, &s);
	struct fetch_range r = range_of(src, 7, sizeof(buf));

	cr_expect(eq(i64, fetch_try_read(t.f, &r, buf, NULL), -EAGAIN));
	cr_expect(eq(uint, requests(&t), 0));
	cr_assert(eq(int, read_and_compare(&t, src, &s, 7, 100, NULL), 0));
	cr_expect(eq(i64, fetch_try_read(t.f, &r, buf, NULL), 100));
	cr_expect(eq(int, memcmp(buf, s.data + 7, 100), 0));
	fetch_source_close(src);
}

Test(fetch, ranges_outside_a_source_are_refused)
{
	cleanup_fetching struct fetching t;
	cleanup_source struct source s;
	unsigned char buf[8];

	fetching_open(&t, NULL);
	source_init(&s, 1000, 3);
	struct fetch_source *src = open_source(&t, &s);
	struct fetch_range r = range_of(src, 996, 5);

	cr_expect(eq(i64, fetch_try_read(t.f, &r, buf, NULL), -EINVAL));
	r = range_of(src, UINT64_MAX, 5);
	cr_expect(eq(i64, fetch_try_read(t.f, &r, buf, NULL), -EINVAL));
	r = range_of(src, 0, 5);
	r.file_digest = &s.spec.digest;
	r.file_off = 1;
	r.file_size = UINT64_MAX;
	cr_expect(eq(i64, fetch_try_read(t.f, &r, buf, NULL), -EINVAL));
	fetch_source_close(src);
}

Test(fetch, a_pack_is_one_request_and_sealed)
{
	cleanup_fetching struct fetching t;
	cleanup_source struct source s;

	fetching_open(&t, NULL);
	source_init(&s, 24 * MIB + 512, 4);
	upload(&t, s.data, s.spec.size);
	struct fetch_source *src = open_kind(&t, &s, TREE_SOURCE_PACK);

	cr_assert(eq(int, fetch_whole(t.f, &src, 1, NULL, NULL), 0));
	cr_expect(content_sealed(fetch_source_content(src)));
	cr_expect(eq(uint, requests(&t), 1));
	cr_assert(eq(int, fetch_whole(t.f, &src, 1, NULL, NULL), 0));
	cr_expect(eq(uint, requests(&t), 1), "whole already");
	fetch_source_close(src);
}

Test(fetch, a_big_file_comes_once_over_several_connections)
{
	cleanup_fetching struct fetching t;
	cleanup_source struct source s;

	fetching_open(&t, NULL);
	source_init(&s, 80 * MIB + 1, 5);
	upload(&t, s.data, s.spec.size);
	struct fetch_source *src = open_source(&t, &s);

	cr_assert(eq(int, fetch_whole(t.f, &src, 1, NULL, NULL), 0));
	cr_expect(eq(u64, bytes_asked(&t), s.spec.size));
	cr_expect(ge(uint, requests(&t), 2));
	cr_expect(le(uint, requests(&t), 11));
	cr_expect(eq(int, read_and_compare(&t, src, &s, 0, s.spec.size, NULL),
		     0));
	fetch_source_close(src);
}

Test(fetch, many_small_sources_become_whole)
{
	cleanup_fetching struct fetching t;
	struct fetch_stats st;
	struct source s[50];
	struct fetch_source *src[50];

	fetching_open(&t, NULL);
	for (unsigned i = 0; i < 50; i++) {
		source_init(&s[i], 1 + i * 40000, 100 + i);
		upload(&t, s[i].data, s[i].spec.size);
		src[i] = open_source(&t, &s[i]);
	}
	cr_assert(eq(int, fetch_whole(t.f, src, 50, NULL, NULL), 0));
	cr_expect(ge(uint, requests(&t), 50));
	fetcher_stats(t.f, &st);
	cr_expect(le(u64, requests(&t) - st.hedged, 50));
	cr_expect(eq(uint, count_files(&t.fx, "blobs"), 50));
	cr_expect(eq(uint, count_files(&t.fx, "partial"), 0));
	for (unsigned i = 0; i < 50; i++) {
		fetch_source_close(src[i]);
		source_release(&s[i]);
	}
}

Test(fetch, sequential_readers_read_ahead_and_nothing_comes_twice)
{
	cleanup_fetching struct fetching t;
	struct fetch_stats st;
	cleanup_source struct source s;

	fetching_open(&t, NULL);
	source_init(&s, 48 * MIB, 6);
	upload(&t, s.data, s.spec.size);
	struct fetch_source *src = open_source(&t, &s);

	for (uint64_t off = 0; off < s.spec.size; off += 131072)
		cr_assert(eq(int,
			     read_and_compare(&t, src, &s, off, 131072, NULL),
			     0));
	cr_expect(le(uint, requests(&t), 24));
	fetcher_stats(t.f, &st);
	cr_expect(eq(u64, st.bytes_network, s.spec.size));
	fetch_source_close(src);
}

Test(fetch, what_readers_completed_is_sealed_in_the_background)
{
	cleanup_fetching struct fetching t;
	cleanup_source struct source s;
	int64_t end = time_deadline_ms(5000);

	fetching_open(&t, NULL);
	source_init(&s, 3 * MIB, 7);
	upload(&t, s.data, s.spec.size);
	struct fetch_source *src = open_source(&t, &s);

	cr_assert(eq(int, read_and_compare(&t, src, &s, 0, s.spec.size, NULL),
		     0));
	while (!content_sealed(fetch_source_content(src)) &&
	       time_mono_ns() < end)
		time_sleep_ms(5);
	cr_expect(content_sealed(fetch_source_content(src)));
	fetch_source_close(src);
}

Test(fetch, a_second_run_asks_for_what_the_first_did_not_get)
{
	cleanup_fetching struct fetching t;
	cleanup_source struct source s;

	fetching_open(&t, NULL);
	source_init(&s, 9 * MIB, 8);
	upload(&t, s.data, s.spec.size);
	struct fetch_source *src = open_source(&t, &s);
	cr_assert(eq(int, read_and_compare(&t, src, &s, 4 * MIB, 10, NULL), 0));
	fetch_source_close(src);
	fetching_restart(&t, 30000);
	src = open_source(&t, &s);
	cr_assert(eq(int, fetch_whole(t.f, &src, 1, NULL, NULL), 0));
	cr_expect(eq(u64, bytes_asked(&t), s.spec.size));
	cr_expect(eq(uint, requests(&t), 3), "around the chunk that was there");
	fetch_source_close(src);
}

static struct fetch_source *open_run(struct fetching *t, const struct source *s,
				     const struct fetch_part *parts, uint32_t n,
				     int want)
{
	struct fetch_source_spec spec = {
		.remote = &t->remote,
		.kind = TREE_SOURCE_RUN,
		.content = s->spec,
		.parts = parts,
		.n_parts = n,
	};
	struct fetch_source *src = NULL;

	cr_assert(eq(int, fetch_source_open(t->f, &spec, &src, NULL), want));
	return src;
}

Test(fetch, a_run_of_parts_is_one_stream)
{
	cleanup_fetching struct fetching t;
	cleanup_source struct source s;
	static const uint64_t sizes[] = {3 * MIB, 3 * MIB + 17, 3 * MIB, 99};
	struct fetch_part parts[4];
	uint64_t off = 0;

	fetching_open(&t, NULL);
	source_init(&s, 9 * MIB + 17 + 99, 9);
	for (unsigned i = 0; i < 4; i++) {
		upload(&t, s.data + off, sizes[i]);
		parts[i].digest = digest_of_buf(s.data + off, sizes[i]);
		parts[i].size = sizes[i];
		off += sizes[i];
	}
	open_run(&t, &s, parts, 3, -EBADMSG);
	struct fetch_source *src = open_run(&t, &s, parts, 4, 0);
	cr_expect(eq(int, read_and_compare(&t, src, &s, 5 * MIB, 2 * MIB, NULL),
		     0));
	cr_expect(eq(int, fetch_whole(t.f, &src, 1, NULL, NULL), 0));
	cr_expect(eq(int, read_and_compare(&t, src, &s, 0, s.spec.size, NULL),
		     0));
	fetch_source_close(src);
}

Test(fetch, a_file_in_a_pack_is_checked_by_its_own_digest)
{
	cleanup_fetching struct fetching t;
	cleanup_source struct source s;
	unsigned char buf[5000];

	fetching_open(&t, NULL);
	source_init(&s, 4 * MIB, 10);
	upload(&t, s.data, s.spec.size);
	struct fetch_source *src = open_kind(&t, &s, TREE_SOURCE_PACK);
	cr_assert(eq(int, fetch_whole(t.f, &src, 1, NULL, NULL), 0));

	uint64_t off = MIB - 2000;
	struct digest d = digest_of_buf(s.data + off, 5000);
	struct fetch_range r = range_of(src, off + 10, 100);
	r.file_digest = &d;
	r.file_off = off;
	r.file_size = 5000;
	cr_assert(eq(i64, fetch_try_read(t.f, &r, buf, NULL), 100));
	cr_expect(eq(int, memcmp(buf, s.data + off + 10, 100), 0));

	/* A tree that says another digest is at fault; the pack stays. */
	d.b[0] ^= 1;
	cr_expect(eq(i64, fetch_try_read(t.f, &r, buf, NULL), -EBADMSG));
	cr_expect(content_sealed(fetch_source_content(src)));
	fetch_source_close(src);
}

/* Its chunk is right, and at hand: it is not the file's own digest. */
Test(fetch, a_file_in_a_pack_is_checked_in_memory_too)
{
	cleanup_fetching struct fetching t;
	cleanup_source struct source s;
	unsigned char buf[5000];

	fetching_open(&t, NULL);
	source_init(&s, 4 * MIB, 12);
	upload(&t, s.data, s.spec.size);
	struct fetch_source *src = open_kind(&t, &s, TREE_SOURCE_PACK);
	uint64_t off = MIB - 2000;
	struct digest d = digest_of_buf(s.data + off, 5000);
	struct fetch_range r = range_of(src, off + 10, 100);

	r.file_digest = &d;
	r.file_off = off;
	r.file_size = 5000;
	d.b[0] ^= 1;
	cr_expect(eq(i64, fetch_read(t.f, &r, buf, NULL, NULL), -EBADMSG));
	cr_expect(eq(i64, fetch_try_read(t.f, &r, buf, NULL), -EBADMSG));
	d.b[0] ^= 1;
	cr_assert(eq(i64, fetch_try_read(t.f, &r, buf, NULL), 100));
	cr_expect(eq(int, memcmp(buf, s.data + off + 10, 100), 0));
	fetch_source_close(src);
}

Test(fetch, damage_on_the_disk_is_fetched_again)
{
	cleanup_fetching struct fetching t;
	cleanup_source struct source s;

	fetching_open(&t, NULL);
	source_init(&s, 8 * MIB, 11);
	upload(&t, s.data, s.spec.size);
	struct fetch_source *src = open_source(&t, &s);
	cr_assert(eq(int, read_and_compare(&t, src, &s, 2 * MIB, 10, NULL), 0));
	fetch_source_close(src);
	fetching_restart(&t, 30000);

	cleanup_free char *part = partial_path(&t.fx, ".part");
	flip_byte(part, 2 * MIB + 3);
	src = open_source(&t, &s);
	cr_assert(eq(int, read_and_compare(&t, src, &s, 2 * MIB, 10, NULL), 0));
	cr_expect(eq(uint, requests(&t), 2));
	fetch_source_close(src);
}

Test(fetch, sources_of_one_digest_are_one)
{
	cleanup_fetching struct fetching t;
	cleanup_source struct source s;

	fetching_open(&t, NULL);
	source_init(&s, 3 * MIB, 12);
	struct fetch_source *a = open_source(&t, &s);
	struct fetch_source *b = open_source(&t, &s);

	cr_expect(eq(ptr, a, b));
	fetch_source_close(a);
	fetch_source_close(b);
}

/* The chunk list may go when the source is open: a tree is unmapped. */
Test(fetch, sources_keep_what_they_need)
{
	cleanup_fetching struct fetching t;
	cleanup_source struct source s;

	fetching_open(&t, NULL);
	source_init(&s, 3 * MIB, 13);
	upload(&t, s.data, s.spec.size);
	struct fetch_source *a = open_source(&t, &s);
	struct digest *chunks = s.chunks;

	s.chunks = xmemdup(chunks, s.n * sizeof(*chunks));
	s.spec.chunks = s.chunks;
	memset(chunks, 0, s.n * sizeof(*chunks));
	free(chunks);
	struct fetch_source *b = open_source(&t, &s);
	fetch_source_close(a);
	cr_expect(eq(int, fetch_whole(t.f, &b, 1, NULL, NULL), 0));
	fetch_source_close(b);
}

/* A small source that waits for its name, with others, and whose file another
 * process took away, as it does with damage. */
static void queue_and_remove(struct fetching *t, const struct source *s)
{
	struct content *ct = content_of(&t->fx, s);
	cleanup_free char *part = NULL;

	cr_assert(eq(int, put_all(ct, s), 0));
	cr_assert(eq(int, content_seal(ct, NULL), 0));
	content_close(ct);
	part = partial_path(&t->fx, ".part");
	cr_assert(eq(int, unlink(part), 0));
}

Test(fetch, what_was_removed_in_a_group_fails_no_other)
{
	cleanup_fetching struct fetching t;
	cleanup_source struct source gone, other;
	struct fetch_source *src;
	cleanup_error struct error *err = NULL;

	fetching_open(&t, NULL);
	source_init(&gone, 5000, 1);
	source_init(&other, 6000, 2);
	upload(&t, other.data, 6000);
	queue_and_remove(&t, &gone);
	src = open_source(&t, &other);
	cr_expect(eq(int, fetch_whole(t.f, &src, 1, NULL, &err), 0), "%s",
		  err ? err->message : "");
	cr_expect(cache_blob_exists(t.fx.c, &other.spec.digest, 6000));
	cr_expect(not(cache_blob_exists(t.fx.c, &gone.spec.digest, 5000)));
	fetch_source_close(src);
}

Test(fetch, what_was_removed_in_a_group_is_fetched_again)
{
	cleanup_fetching struct fetching t;
	cleanup_source struct source gone;
	struct fetch_source *src;
	cleanup_error struct error *err = NULL;

	fetching_open(&t, NULL);
	source_init(&gone, 5000, 1);
	upload(&t, gone.data, 5000);
	queue_and_remove(&t, &gone);
	src = open_source(&t, &gone);
	cr_expect(eq(int, fetch_whole(t.f, &src, 1, NULL, &err), 0), "%s",
		  err ? err->message : "");
	cr_expect(cache_blob_exists(t.fx.c, &gone.spec.digest, 5000));
	fetch_source_close(src);
}
