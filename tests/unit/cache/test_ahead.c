/* The hash of the whole that is begun while the rest still comes. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/content_internal.h"
#include "fixture.h"

#define CHUNKS 40u
#define SIZE   (uint64_t)((CHUNKS - 1) * CHUNK_SIZE + 777)

static struct fixture f;
static struct source s;
static struct content *ct;

static void setup(void)
{
	fixture_open(&f);
	source_init(&s, SIZE, 1);
	ct = content_of(&f, &s);
}

static void teardown(void)
{
	content_close(ct);
	source_release(&s);
	fixture_close(&f);
}

TestSuite(ahead, .init = setup, .fini = teardown);

static void put_range(uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		cr_assert(eq(int, put_chunk(ct, &s, i), 0));
}

static uint32_t hashed(void)
{
	return ct->ahead ? ct->ahead->next : 0;
}

static void is_right_and_sealed(void)
{
	for (uint32_t i = 0; i < s.n; i++)
		cr_expect(eq(int, read_back(ct, &s, i), 0));
	cr_expect(content_sealed(ct));
}

/* Flip a byte of the only partial blob there is. */
static void damage(uint32_t chunk)
{
	struct backing *b = ct->backing;
	cleanup_free char *path = NULL;

	cr_assert(b != NULL);
	cr_assert(asprintf(&path, "/proc/self/fd/%d", b->fd) > 0);
	flip_byte(path, (uint64_t)chunk * CHUNK_SIZE + 5);
}

Test(ahead, goes_as_far_as_every_chunk_is_there)
{
	content_hash_ahead(ct);
	cr_expect(eq(u32, hashed(), 0), "nothing is there");
	put_range(1, CHUNKS - 1);
	content_hash_ahead(ct);
	cr_expect(eq(u32, hashed(), 0), "the first is missing");
	put_range(0, 1);
	content_hash_ahead(ct);
	cr_expect(ge(u32, hashed(), 32));
	cr_expect(lt(u32, hashed(), CHUNKS));
	put_range(CHUNKS - 1, CHUNKS);
	content_hash_ahead(ct);
	cr_expect(eq(u32, hashed(), CHUNKS));
	cr_assert(eq(int, content_seal(ct, NULL), 0));
	cr_expect(ct->ahead == NULL, "no memory is kept");
	is_right_and_sealed();
}

Test(ahead, a_chunk_that_is_damaged_before_it_is_hashed_is_found)
{
	put_range(0, 32);
	damage(20);
	content_hash_ahead(ct);
	put_range(32, CHUNKS);
	cr_expect(eq(int, content_seal(ct, NULL), -EAGAIN));
	cr_expect(not(content_has(ct, 20)), "to be fetched again");
	cr_expect(content_has(ct, 19));
	put_range(20, 21);
	cr_assert(eq(int, content_seal(ct, NULL), 0));
	is_right_and_sealed();
}

Test(ahead, what_it_has_not_reached_is_hashed_at_the_end)
{
	put_range(0, 32);
	content_hash_ahead(ct);
	put_range(32, CHUNKS);
	damage(35);
	cr_expect(eq(int, content_seal(ct, NULL), -EAGAIN));
	cr_expect(not(content_has(ct, 35)));
	put_range(35, 36);
	cr_assert(eq(int, content_seal(ct, NULL), 0));
	is_right_and_sealed();
}

/* A reader finds the damage first, and the chunk is fetched again. */
Test(ahead, a_chunk_that_was_healed_does_no_harm)
{
	put_range(0, 32);
	damage(3);
	content_hash_ahead(ct);
	cr_expect(eq(int, read_back(ct, &s, 3), -ENOENT));
	put_range(3, 4);
	put_range(32, CHUNKS);
	cr_expect(gt(u32, hashed(), 3), "the damage is in the hash");
	cr_expect(eq(int, content_seal(ct, NULL), 0), "all is read again");
	is_right_and_sealed();
}

/* What changes between the hash and the name would not be seen. */
Test(ahead, what_was_hashed_long_ago_is_hashed_again)
{
	put_range(0, 32);
	content_hash_ahead(ct);
	put_range(32, CHUNKS);
	damage(3);
	cr_assert(ct->ahead != NULL);
	ct->ahead->began_ns -= AHEAD_GRACE_NS + 3 * ct->ahead->hashing_ns;
	cr_expect(eq(int, content_seal(ct, NULL), -EAGAIN));
	cr_expect(not(content_has(ct, 3)), "to be fetched again");
	put_range(3, 4);
	cr_assert(eq(int, content_seal(ct, NULL), 0));
	is_right_and_sealed();
}

/* Files of partial/ that this process has open. */
static unsigned open_partials(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	unsigned n = 0;

	cr_assert(d != NULL);
	while ((e = readdir(d))) {
		char to[4096] = "";

		if (readlinkat(dirfd(d), e->d_name, to, sizeof(to) - 1) > 0)
			n += strstr(to, "/partial/sha256/") != NULL;
	}
	closedir(d);
	return n;
}

Test(ahead, nothing_is_kept_open_when_another_process_seals)
{
	struct fixture other = {0};

	put_range(0, 32);
	content_hash_ahead(ct);
	cr_expect(eq(u32, open_partials(), 2), "the file and its map");
	cr_assert(eq(int, cache_open(cache_path(f.c), &other.c, NULL), 0));
	cr_assert(eq(int, seal_all(&other, &s), 0));
	cache_closep(&other.c);
	cr_expect(content_sealed(ct));
	cr_expect(ct->ahead == NULL);
	cr_expect(eq(u32, open_partials(), 0));
	is_right_and_sealed();
}
