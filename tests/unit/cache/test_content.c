#include "cache/content.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/internal.h"
#include "fixture.h"

#define BIG (3u * CHUNK_SIZE + 12345)

static struct fixture f;

static void setup(void)
{
	fixture_open(&f);
}

static void teardown(void)
{
	fixture_close(&f);
}

TestSuite(content, .init = setup, .fini = teardown);

Test(content, divides_a_source_into_chunks)
{
	cr_assert(eq(u32, chunk_count(0), 0));
	cr_assert(eq(u32, chunk_count(1), 1));
	cr_assert(eq(u32, chunk_count(CHUNK_SIZE), 1));
	cr_assert(eq(u32, chunk_count(CHUNK_SIZE + 1), 2));
	cr_assert(eq(u32, chunk_len(CHUNK_SIZE + 1, 0), CHUNK_SIZE));
	cr_assert(eq(u32, chunk_len(CHUNK_SIZE + 1, 1), 1));
	cr_assert(eq(u32, chunk_len(CHUNK_SIZE + 1, 2), 0));
}

Test(content, is_absent_at_first)
{
	cleanup_source struct source s;
	struct content *ct;

	source_init(&s, BIG, 1);
	ct = content_of(&f, &s);
	cr_expect(eq(u64, content_size(ct), BIG));
	cr_expect(not(content_has(ct, 0)));
	cr_expect(not(content_sealed(ct)));
	cr_expect(eq(u32, content_have(ct), 0));
	cr_expect(eq(int, read_back(ct, &s, 0), -ENOENT));
	cr_expect(eq(int, content_seal(ct, NULL), -EAGAIN));
	cr_expect(eq(int, content_sync(ct, NULL), 0));
	content_close(ct);
	cr_expect(eq(u32, count_files(&f, "partial"), 0));
}

Test(content, gives_back_what_was_put)
{
	cleanup_source struct source s;
	struct content *ct;

	source_init(&s, BIG, 2);
	ct = content_of(&f, &s);
	cr_assert(eq(int, put_chunk(ct, &s, 3), 0));
	cr_assert(eq(int, put_chunk(ct, &s, 1), 0));
	cr_expect(eq(u32, content_have(ct), 2));
	cr_expect(content_has(ct, 1));
	cr_expect(not(content_has(ct, 0)));
	cr_expect(eq(int, read_back(ct, &s, 1), 0));
	cr_expect(eq(int, read_back(ct, &s, 3), 0));
	cr_expect(eq(int, read_back(ct, &s, 2), -ENOENT));
	cr_expect(eq(int, content_seal(ct, NULL), -EAGAIN));
	content_close(ct);
}

Test(content, refuses_a_chunk_that_is_not_what_the_list_says)
{
	cleanup_source struct source s;
	struct content *ct;

	source_init(&s, BIG, 3);
	ct = content_of(&f, &s);
	s.data[CHUNK_SIZE + 7] ^= 1;
	cr_expect(eq(int, put_chunk(ct, &s, 1), -EBADMSG));
	cr_expect(not(content_has(ct, 1)));
	/* The right bytes of another chunk, and too few. */
	cr_expect(eq(int, content_put(ct, 1, s.data, CHUNK_SIZE, NULL),
		     -EBADMSG));
	cr_expect(eq(int, content_put(ct, 0, s.data, 100, NULL), -EBADMSG));
	cr_expect(eq(int, content_put(ct, 99, s.data, 100, NULL), -EINVAL));
	content_close(ct);
	cr_expect(eq(u32, count_files(&f, "partial"), 0));
}

Test(content, refuses_a_small_source_that_is_not_its_digest)
{
	cleanup_source struct source s;
	struct content *ct;

	source_init(&s, 100, 4);
	ct = content_of(&f, &s);
	s.data[5] ^= 1;
	cr_expect(eq(int, put_chunk(ct, &s, 0), -EBADMSG));
	cr_expect(eq(int, content_seal(ct, NULL), -EAGAIN));
	content_close(ct);
	cr_expect(eq(u32, count_files(&f, "blobs"), 0));
}

static void seals(uint64_t size)
{
	cleanup_source struct source s;
	cleanup_free char *path = NULL;
	struct content *ct;
	struct stat st;

	source_init(&s, size, 5);
	ct = content_of(&f, &s);
	cr_assert(eq(int, put_all(ct, &s), 0));
	cr_assert(eq(int, content_seal(ct, NULL), 0));
	cr_expect(eq(u32, content_have(ct), s.n));
	cr_assert(eq(int, cache_sync(f.c, NULL), 0));
	cr_expect(content_sealed(ct));
	cr_expect(eq(u32, content_have(ct), s.n));
	for (uint32_t i = 0; i < s.n; i++)
		cr_expect(eq(int, read_back(ct, &s, i), 0));
	cr_expect(eq(int, content_seal(ct, NULL), 0), "again: done");
	content_close(ct);

	path = blob_path(&f, &s.spec.digest);
	cr_assert(eq(int, stat(path, &st), 0));
	cr_expect(eq(u32, st.st_mode & 07777, 0444));
	cr_expect(eq(u64, st.st_nlink, 1));
	cr_expect(eq(u64, st.st_size, size));
	cr_expect(eq(u32, count_files(&f, "partial"), 0));
	cr_expect(eq(u32, count_files(&f, "tmp"), 0));
	cr_expect(cache_blob_exists(f.c, &s.spec.digest, size));
}

Test(content, seals_a_big_source)
{
	seals(BIG);
}

Test(content, seals_a_source_of_whole_chunks)
{
	seals(2 * CHUNK_SIZE);
}

Test(content, seals_a_source_of_one_chunk)
{
	seals(CHUNK_SIZE);
	seals(1);
}

Test(content, of_one_chunk_is_seen_by_others_before_it_is_sealed)
{
	cleanup_source struct source s;
	struct cache *other = NULL;
	struct content *a, *b = NULL;

	source_init(&s, 5000, 1);
	cr_assert(eq(int, cache_open(cache_path(f.c), &other, NULL), 0));
	a = content_of(&f, &s);
	cr_assert(eq(int, content_open(other, &s.spec, &b, NULL), 0));
	cr_assert(eq(int, put_chunk(a, &s, 0), 0));
	cr_expect(eq(int, content_claim(b, 0, 1, 0), 1), "no second fetch");
	cr_expect(eq(int, read_back(b, &s, 0), 0));
	cr_expect(eq(int, content_seal(b, NULL), 0));
	cr_expect(eq(int, content_seal(a, NULL), 0));
	cr_expect(content_sealed(a), "as far as this process is concerned");
	cr_expect(eq(u32, count_files(&f, "blobs"), 0));
	cr_expect(eq(int, cache_sync(other, NULL), 0));
	cr_expect(eq(int, cache_sync(f.c, NULL), 0));
	cr_expect(content_sealed(a));
	cr_expect(content_sealed(b));
	cr_expect(eq(u32, count_files(&f, "blobs"), 1));
	cr_expect(eq(u32, count_files(&f, "partial"), 0));
	content_close(a);
	content_close(b);
	cache_close(other);
}

Test(content, of_one_chunk_gets_its_name_when_it_is_looked_for)
{
	cleanup_source struct source s;
	struct content *ct;
	int fd;

	source_init(&s, 5000, 1);
	ct = content_of(&f, &s);
	cr_assert(eq(int, put_chunk(ct, &s, 0), 0));
	cr_assert(eq(int, content_seal(ct, NULL), 0));
	content_close(ct);
	cr_expect(cache_blob_exists(f.c, &s.spec.digest, 5000));
	fd = cache_blob_open(f.c, &s.spec.digest, 5000, NULL);
	cr_expect(ge(int, fd, 0));
	closep(&fd);
	cr_expect(eq(u32, count_files(&f, "partial"), 0));
}

Test(content, of_one_chunk_outlives_a_kill_before_it_was_sealed)
{
	cleanup_source struct source s;
	struct content *ct;

	source_init(&s, 5000, 1);
	ct = content_of(&f, &s);
	cr_assert(eq(int, put_chunk(ct, &s, 0), 0));
	content_close(ct);
	fixture_reopen(&f);
	ct = content_of(&f, &s);
	cr_expect(content_has(ct, 0));
	cr_expect(eq(int, read_back(ct, &s, 0), 0));
	cr_expect(eq(int, content_seal(ct, NULL), 0));
	cr_expect(eq(int, content_sync(ct, NULL), 0));
	cr_expect(content_sealed(ct));
	content_close(ct);
	cr_expect(eq(u32, count_files(&f, "partial"), 0));
}

Test(content, of_one_chunk_that_a_power_cut_damaged_is_fetched_again)
{
	cleanup_source struct source s;
	cleanup_free char *part = NULL;
	struct content *ct;

	source_init(&s, 5000, 1);
	for (int i = 0; i < 2; i++) {
		ct = content_of(&f, &s);
		cr_assert(eq(int, put_chunk(ct, &s, 0), 0));
		content_close(ct);
		free(part);
		part = partial_path(&f, ".part");
		flip_byte(part, 77);
		ct = content_of(&f, &s);
		if (i == 0)
			cr_expect(eq(int, read_back(ct, &s, 0), -ENOENT));
		else
			cr_expect(eq(int, content_seal(ct, NULL), -EAGAIN));
		cr_expect(not(content_has(ct, 0)));
		content_close(ct);
	}
	cr_expect(eq(u32, count_files(&f, "blobs"), 0));
	cr_expect(eq(int, seal_all(&f, &s), 0));
}

Test(content, of_one_chunk_is_sealed_with_many_others)
{
	enum { N = 200 };
	struct source s[N];
	struct content *ct[N];

	for (unsigned i = 0; i < N; i++) {
		source_init(&s[i], 100 + i, i);
		ct[i] = content_of(&f, &s[i]);
		cr_assert(eq(int, put_chunk(ct[i], &s[i], 0), 0));
		cr_assert(eq(int, content_seal(ct[i], NULL), 0));
	}
	cr_expect(ge(u32, count_files(&f, "blobs"), N - BATCH_MAX));
	cr_assert(eq(int, cache_sync(f.c, NULL), 0));
	cr_expect(eq(u32, count_files(&f, "blobs"), N));
	cr_expect(eq(u32, count_files(&f, "index"), N));
	cr_expect(eq(u32, count_files(&f, "partial"), 0));
	for (unsigned i = 0; i < N; i++) {
		cr_expect(eq(int, read_back(ct[i], &s[i], 0), 0));
		cr_expect(content_sealed(ct[i]));
		content_close(ct[i]);
		source_release(&s[i]);
	}
}

Test(content, seals_an_empty_source)
{
	struct content_spec spec = {.digest = DIGEST_EMPTY};
	struct content *ct;

	seals(0);
	cr_assert(eq(int, content_open(f.c, &spec, &ct, NULL), 0));
	cr_expect(content_sealed(ct));
	content_close(ct);
	spec.digest.b[0] ^= 1;
	cr_assert(eq(int, content_open(f.c, &spec, &ct, NULL), 0));
	cr_expect(eq(int, content_seal(ct, NULL), -EBADMSG));
	content_close(ct);
}

Test(content, needs_a_list_and_a_size_it_can_hold)
{
	struct content_spec spec = {.digest = DIGEST_EMPTY, .size = BIG};
	struct content *ct;

	cr_expect(eq(int, content_open(f.c, &spec, &ct, NULL), -EINVAL));
	spec.size = UINT64_MAX;
	cr_expect(eq(int, content_open(f.c, &spec, &ct, NULL), -EFBIG));
}

Test(content, keeps_a_partial_for_the_next_process)
{
	cleanup_source struct source s;
	struct content *ct;

	source_init(&s, BIG, 6);
	ct = content_of(&f, &s);
	cr_assert(eq(int, put_chunk(ct, &s, 0), 0));
	cr_assert(eq(int, content_sync(ct, NULL), 0));
	cr_assert(eq(int, put_chunk(ct, &s, 2), 0));
	content_close(ct);
	fixture_reopen(&f);

	ct = content_of(&f, &s);
	cr_expect(eq(u32, content_have(ct), 2), "same boot: both count");
	cr_expect(eq(int, read_back(ct, &s, 0), 0));
	cr_expect(eq(int, read_back(ct, &s, 2), 0));
	cr_assert(eq(int, put_all(ct, &s), 0));
	cr_expect(eq(int, content_seal(ct, NULL), 0));
	content_close(ct);
}

Test(content, is_shared_between_openers_of_one_list)
{
	cleanup_source struct source s;
	struct content *a, *b;

	source_init(&s, BIG, 7);
	a = content_of(&f, &s);
	b = content_of(&f, &s);
	cr_expect(eq(ptr, a, b));
	cr_assert(eq(int, put_chunk(a, &s, 0), 0));
	content_close(a);
	cr_expect(content_has(b, 0));
	content_close(b);
}

Test(content, never_shares_bytes_between_two_lists_of_one_digest)
{
	cleanup_source struct source honest, hostile;
	struct content *a, *b;

	source_init(&honest, BIG, 8);
	source_init(&hostile, BIG, 9);
	hostile.spec.digest = honest.spec.digest; /* a lie */
	a = content_of(&f, &honest);
	b = content_of(&f, &hostile);
	cr_assert(eq(int, put_all(b, &hostile), 0));
	cr_expect(eq(u32, content_have(a), 0));
	cr_assert(eq(int, put_chunk(a, &honest, 1), 0));
	cr_expect(eq(int, read_back(b, &hostile, 1), 0));
	cr_expect(eq(int, read_back(a, &honest, 1), 0));

	/* All its chunks are right and the whole is not. */
	cr_expect(eq(int, content_seal(b, NULL), -EBADMSG));
	cr_expect(eq(int, read_back(b, &hostile, 1), -EBADMSG));
	cr_assert(eq(int, put_all(a, &honest), 0));
	cr_expect(eq(int, content_seal(a, NULL), 0));
	cr_expect(eq(int, read_back(a, &honest, 1), 0));
	content_close(a);
	content_close(b);

	/* Remembered by the next process. */
	fixture_reopen(&f);
	b = content_of(&f, &hostile);
	cr_expect(eq(int, read_back(b, &hostile, 1), -EBADMSG));
	cr_expect(eq(int, put_chunk(b, &hostile, 1), -EBADMSG));
	content_close(b);
}

Test(content, serves_unverified_ranges_and_heals_when_asked)
{
	cleanup_source struct source s;
	cleanup_free char *part = NULL;
	cleanup_free unsigned char *buf = xmalloc(BIG);
	struct content *ct;

	source_init(&s, BIG, 10);
	ct = content_of(&f, &s);
	cr_assert(eq(int, put_chunk(ct, &s, 0), 0));
	cr_assert(eq(int, put_chunk(ct, &s, 1), 0));
	cr_assert(eq(int,
		     content_read_unverified(ct, buf, 2000, CHUNK_SIZE - 1000),
		     0));
	cr_expect(eq(int, memcmp(buf, s.data + CHUNK_SIZE - 1000, 2000), 0));
	cr_expect(eq(int,
		     content_read_unverified(ct, buf, 2000,
					     2 * CHUNK_SIZE - 1000),
		     -ENOENT));
	cr_expect(
		eq(int, content_read_unverified(ct, buf, 2, BIG - 1), -EINVAL));
	cr_expect(eq(int, content_read_unverified(ct, buf, 0, 0), 0));
	cr_expect(
		eq(int, content_recheck(ct, 10, 2 * CHUNK_SIZE - 10, NULL), 0));

	part = partial_path(&f, ".part");
	flip_byte(part, CHUNK_SIZE + 50);
	cr_expect(eq(int, content_recheck(ct, 10, 2 * CHUNK_SIZE - 10, NULL),
		     -ENOENT));
	cr_expect(content_has(ct, 0));
	cr_expect(not(content_has(ct, 1)));
	content_close(ct);
}

Test(content, claims_exclude_another_process)
{
	cleanup_source struct source s;
	struct cache *other = NULL;
	struct content *a, *b = NULL;

	source_init(&s, BIG, 11);
	cr_assert(eq(int, cache_open(cache_path(f.c), &other, NULL), 0));
	a = content_of(&f, &s);
	cr_assert(eq(int, content_open(other, &s.spec, &b, NULL), 0));

	cr_expect(eq(int, content_claim(a, 0, 2, TIME_NEVER), 0));
	cr_expect(eq(int, content_claim(b, 1, 1, 0), -ETIMEDOUT));
	cr_expect(eq(int, content_claim(b, 2, 1, 0), 0), "apart");
	content_unclaim(b, 2, 1);
	cr_assert(eq(int, put_chunk(a, &s, 1), 0));
	cr_expect(eq(int, content_claim(b, 1, 1, 0), 1), "seen as done");
	cr_expect(eq(int, content_claim(b, 0, 2, 0), -ETIMEDOUT));
	content_unclaim(a, 0, 2);
	cr_expect(eq(int, content_claim(b, 0, 2, 0), 0));
	content_unclaim(b, 0, 2);
	content_close(a);
	content_close(b);
	cache_close(other);
}

Test(content, goes_on_reading_while_another_process_seals)
{
	cleanup_source struct source s;
	struct cache *other = NULL;
	struct content *a, *b = NULL;

	source_init(&s, BIG, 12);
	cr_assert(eq(int, cache_open(cache_path(f.c), &other, NULL), 0));
	a = content_of(&f, &s);
	cr_assert(eq(int, content_open(other, &s.spec, &b, NULL), 0));
	cr_assert(eq(int, put_all(a, &s), 0));
	cr_expect(eq(int, read_back(b, &s, 0), 0));
	cr_expect(eq(int, content_seal(a, NULL), 0));
	cr_expect(eq(int, read_back(b, &s, 1), 0));
	cr_expect(content_sealed(b));
	cr_expect(eq(int, put_chunk(b, &s, 1), 0));
	cr_expect(eq(int, content_seal(b, NULL), 0));
	content_close(a);
	content_close(b);
	cache_close(other);
}
