#include "cache/hashes.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "cache/internal.h"

#include "fixture.h"

static struct fixture f;

static void setup(void)
{
	fixture_open(&f);
}

static void teardown(void)
{
	fixture_close(&f);
}

TestSuite(hashes, .init = setup, .fini = teardown);

#define AN_HOUR (3600 * NS_PER_S)

static struct hashes *open_it(void)
{
	struct hashes *h = NULL;

	cr_assert(eq(int, hashes_open(f.c, f.dir, &h, NULL), 0));
	return h;
}

static struct stat a_stat(off_t size)
{
	return (struct stat){
		.st_dev = 5,
		.st_ino = 77,
		.st_size = size,
		.st_mtim = {.tv_sec = 1000000, .tv_nsec = 5},
		.st_ctim = {.tv_sec = 1000001, .tv_nsec = 6},
	};
}

static const int64_t later = 1000001 * NS_PER_S + AN_HOUR;

static bool knows(struct hashes *h, const char *path, const struct stat *st,
		  const struct digest *want)
{
	struct digest got;

	return hashes_get(h, path, st, &got, NULL, NULL) &&
	       digest_equal(&got, want);
}

Test(hashes, are_found_again_by_the_next_process)
{
	struct digest d = digest_of_str("x");
	struct stat st = a_stat(10);
	struct hashes *h = open_it();

	cr_expect(not(knows(h, "a", &st, &d)));
	hashes_put(h, "a", &st, later, &d, NULL, 0);
	cr_expect(knows(h, "a", &st, &d));
	cr_assert(eq(int, hashes_save(h, NULL), 0));
	hashes_free(h);
	fixture_reopen(&f);
	h = open_it();
	cr_expect(knows(h, "a", &st, &d));
	cr_expect(not(knows(h, "b", &st, &d)));
	hashes_free(h);
}

Test(hashes, are_forgotten_when_anything_of_the_stat_differs)
{
	struct digest d = digest_of_str("x");
	struct stat st = a_stat(10), other;
	struct hashes *h = open_it();

	hashes_put(h, "a", &st, later, &d, NULL, 0);
	other = st, other.st_dev++;
	cr_expect(not(knows(h, "a", &other, &d)));
	other = st, other.st_ino++;
	cr_expect(not(knows(h, "a", &other, &d)));
	other = st, other.st_size++;
	cr_expect(not(knows(h, "a", &other, &d)));
	other = st, other.st_mtim.tv_nsec++;
	cr_expect(not(knows(h, "a", &other, &d)));
	other = st, other.st_ctim.tv_sec++;
	cr_expect(not(knows(h, "a", &other, &d)));
	cr_expect(knows(h, "a", &st, &d));
	hashes_free(h);
}

Test(hashes, of_files_just_written_are_not_kept)
{
	struct digest d = digest_of_str("x");
	struct stat st = a_stat(10);
	struct hashes *h = open_it();
	int64_t ctime = 1000001 * NS_PER_S + 6;

	hashes_put(h, "a", &st, ctime + 2 * NS_PER_S - 1, &d, NULL, 0);
	cr_expect(not(knows(h, "a", &st, &d)));
	hashes_put(h, "a", &st, ctime - AN_HOUR, &d, NULL, 0);
	cr_expect(not(knows(h, "a", &st, &d)), "a clock that was set back");
	hashes_put(h, "a", &st, ctime + 2 * NS_PER_S, &d, NULL, 0);
	cr_expect(knows(h, "a", &st, &d));
	hashes_free(h);
}

Test(hashes, keep_chunk_digests)
{
	cleanup_free struct digest *chunks = NULL;
	struct digest d = digest_of_str("x"), got;
	struct digest list[2] = {digest_of_str("1"), digest_of_str("2")};
	struct stat st = a_stat(CHUNK_SIZE + 1);
	struct hashes *h = open_it();
	size_t n = 0;

	hashes_put(h, "none", &st, later, &d, NULL, 0);
	hashes_put(h, "a", &st, later, &d, list, 2);
	cr_assert(eq(int, hashes_save(h, NULL), 0));
	hashes_free(h);
	h = open_it();
	cr_expect(not(hashes_get(h, "none", &st, &got, &chunks, &n)),
		  "asked for, and not known");
	cr_assert(hashes_get(h, "a", &st, &got, &chunks, &n));
	cr_assert(eq(sz, n, 2));
	cr_expect(digest_equal(&chunks[1], &list[1]));
	hashes_free(h);
}

Test(hashes, drop_what_was_not_asked_for)
{
	struct digest d = digest_of_str("x");
	struct stat st = a_stat(10);
	struct hashes *h = open_it();

	hashes_put(h, "a", &st, later, &d, NULL, 0);
	hashes_put(h, "b", &st, later, &d, NULL, 0);
	cr_assert(eq(int, hashes_save(h, NULL), 0));
	hashes_free(h);
	h = open_it();
	cr_expect(knows(h, "b", &st, &d));
	cr_assert(eq(int, hashes_save(h, NULL), 0));
	hashes_free(h);
	h = open_it();
	cr_expect(not(knows(h, "a", &st, &d)));
	cr_expect(knows(h, "b", &st, &d));
	hashes_free(h);
}

Test(hashes, in_a_damaged_file_are_none)
{
	cleanup_free char *dir = xasprintf("%s/hashes", cache_path(f.c));
	struct digest d = digest_of_str("x");
	struct stat st = a_stat(10);
	struct digest name;
	cleanup_free char *real = realpath(f.dir, NULL);
	cleanup_free char *path = NULL;
	struct hashes *h;
	long size;

	name = digest_of_str(real);
	path = xasprintf("%s/%s", dir, digest_to_hex(&name).str);
	h = open_it();
	hashes_put(h, "a", &st, later, &d, NULL, 0);
	cr_assert(eq(int, hashes_save(h, NULL), 0));
	hashes_free(h);
	size = file_size(path);
	cr_assert(eq(long, size, 16 + 88 + 1));
	for (long i = 0; i < size; i++) {
		flip_byte(path, i);
		h = open_it();
		cr_expect(not(knows(h, "a", &st, &d)), "byte %ld", i);
		hashes_free(h);
		flip_byte(path, i);
	}
	for (long i = size - 1; i >= 0; i--) {
		cr_assert(eq(int, truncate(path, i), 0));
		h = open_it();
		cr_expect(not(knows(h, "a", &st, &d)));
		hashes_free(h);
	}
}
