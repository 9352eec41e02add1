/* Getting again what is damaged in a cache. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cached.h"

static struct cached s;

static void setup(void)
{
	cached_open(&s);
}

static void teardown(void)
{
	cached_close(&s);
}

TestSuite(verify_cache_repair, .init = setup, .fini = teardown);

static unsigned blobs_read(void)
{
	return registry_fault_counts(s.m.registry).read_blob;
}

static void is_sound(void)
{
	cr_assert(eq(int, cached_verify(&s, true, NULL), 0));
	cr_expect(eq(u64, s.res.report.damaged, 0));
}

/* The sealed blobs; globfree(). */
static void list_blobs(glob_t *ret)
{
	cleanup_free char *all =
		xasprintf("%s/blobs/sha256/*/*", cache_path(s.f.c));

	cr_assert(eq(int, glob(all, 0, NULL, ret), 0));
}

Test(verify_cache_repair, brings_back_each_blob)
{
	glob_t blobs;

	list_blobs(&blobs);
	cr_assert(ge(sz, blobs.gl_pathc, 9)); /* 5 documents, 4 and more */
	for (size_t i = 0; i < blobs.gl_pathc; i++) {
		const char *path = blobs.gl_pathv[i];
		const struct check_item *it;

		flip_byte(path, 3);
		cr_assert(eq(int, cached_verify(&s, true, NULL), 0));
		cr_assert(eq(sz, s.res.n, 1), "%s", path);
		it = &s.res.items[0];
		cr_expect(eq(int, (int)it->state, CHECK_REPAIRED), "%s: %s",
			  it->n ? it->uses[0].what : path,
			  it->why ? it->why : "");
		cr_expect(eq(u64, s.res.repaired, 1));
		cr_expect(eq(u64, s.res.left, 0));
		cr_expect(eq(int, access(path, F_OK), 0));
	}
	is_sound();
	globfree(&blobs);
}

Test(verify_cache_repair, brings_back_all_blobs_at_once)
{
	glob_t blobs;

	list_blobs(&blobs);
	for (size_t i = 0; i < blobs.gl_pathc; i++)
		flip_byte(blobs.gl_pathv[i], 0);
	cr_assert(eq(int, cached_verify(&s, true, NULL), 0));
	cr_expect(eq(u64, s.res.report.damaged, blobs.gl_pathc));
	cr_expect(eq(u64, s.res.repaired, blobs.gl_pathc));
	cr_expect(eq(u64, s.res.left, 0));
	is_sound();
	globfree(&blobs);
}

/* A partial of data/big.bin that has its first three chunks. */
static struct content *partial_of_big(struct source *ret)
{
	struct content *ct;

	cached_source(&s, "data/big.bin", ret);
	ct = content_of(&s.f, ret);
	for (uint32_t i = 0; i < 3; i++)
		cr_assert(eq(int, put_chunk(ct, ret, i), 0));
	return ct;
}

Test(verify_cache_repair, brings_back_the_chunk_of_a_partial_and_no_more)
{
	cleanup_source struct source big;
	cleanup_free char *part = NULL;
	struct content *ct = partial_of_big(&big);
	uint64_t before = registry_fault_counts(s.m.registry).bytes_read;

	content_close(ct);
	part = partial_path(&s.f, ".part");
	flip_byte(part, CHUNK_SIZE + 5);
	cr_assert(eq(int, cached_verify(&s, true, NULL), 0));
	cr_assert(eq(sz, s.res.n, 1));
	cr_expect(
		eq(int, (int)s.res.items[0].finding.kind, CACHE_DAMAGED_CHUNK));
	cr_expect(eq(u32, s.res.items[0].finding.chunk, 1));
	cr_expect(eq(int, (int)s.res.items[0].state, CHECK_REPAIRED));
	is_sound(); /* and what the session before it read is counted */
	cr_expect(eq(u64, registry_fault_counts(s.m.registry).bytes_read,
		     before + CHUNK_SIZE));
	ct = content_of(&s.f, &big);
	cr_expect(eq(int, read_back(ct, &big, 1), 0));
	cr_expect(not(content_has(ct, 3)));
	content_close(ct);
}

Test(verify_cache_repair, fetches_nothing_for_a_damaged_map)
{
	cleanup_source struct source big;
	cleanup_free char *map = NULL;
	unsigned before;

	content_close(partial_of_big(&big));
	map = partial_path(&s.f, ".map");
	flip_byte(map, 40);
	before = blobs_read();
	cr_assert(eq(int, cached_verify(&s, true, NULL), 0));
	cr_assert(eq(sz, s.res.n, 1));
	cr_expect(eq(int, (int)s.res.items[0].finding.kind, CACHE_DAMAGED_MAP));
	cr_expect(eq(u64, s.res.left, 0));
	cr_expect(eq(u32, blobs_read(), before));
}

Test(verify_cache_repair, says_why_not_and_does_it_the_next_time)
{
	struct registry *empty = registry_fake_new();

	cached_damage(&s, &s.m.big, 5);
	cr_assert(eq(int, cached_verify(&s, true, empty), 0));
	cr_assert(eq(sz, s.res.n, 1));
	cr_expect(eq(int, (int)s.res.items[0].state, CHECK_DAMAGED));
	cr_expect(s.res.items[0].why != NULL);
	cr_expect(eq(u64, s.res.left, 1));
	cr_assert(eq(int, cached_verify(&s, true, NULL), 0));
	cr_assert(eq(sz, s.res.n, 1), "it is remembered");
	cr_expect(s.res.items[0].finding.earlier);
	cr_expect(eq(int, (int)s.res.items[0].state, CHECK_REPAIRED));
	is_sound();
	registry_free(empty);
}

Test(verify_cache_repair, takes_no_wrong_bytes)
{
	const struct fault bad = {
		.action = FAULT_CORRUPT, .nth = 1, .every = true, .arg = 7};
	struct registry *right = s.m.registry;

	s.m.registry = registry_fault_new(right, &bad);
	cached_damage(&s, &s.m.big, 5);
	cached_damage(&s, &s.m.digest, 5);
	cr_assert(eq(int, cached_verify(&s, true, NULL), 0));
	cr_expect(eq(u64, s.res.left, 2));
	cr_expect(eq(u64, s.res.repaired, 0));
	cr_expect(not(cache_blob_exists(s.f.c, &s.m.big, 3 * CHUNK_SIZE + 77)));
	cr_assert(eq(int, cached_verify(&s, true, right), 0));
	cr_expect(eq(u64, s.res.repaired, 2));
	is_sound();
}

Test(verify_cache_repair, fetches_nothing_that_no_bundle_needs)
{
	cached_stray(&s);
	cr_assert(eq(int, cached_verify(&s, true, NULL), 0));
	cr_expect(eq(u64, s.res.unused, 1));
	cr_expect(eq(u64, s.res.repaired, 0));
	cr_expect(eq(u64, s.res.left, 0));
	is_sound();
}

/* Perhaps the bundle that cannot be looked into needs it. */
Test(verify_cache_repair, forgets_nothing_while_a_bundle_is_unknown)
{
	struct registry *empty = registry_fake_new();
	struct digest stray = cached_stray(&s);

	cached_damage(&s, &s.m.digest, 5);
	cr_assert(eq(int, cached_verify(&s, true, empty), 0));
	cr_expect(eq(u64, s.res.left, 2));
	cr_assert(eq(int, cached_verify(&s, true, NULL), 0));
	cr_expect(eq(u64, s.res.repaired, 1), "the manifest");
	cr_expect(eq(u64, s.res.unused, 1), "still known");
	for (size_t i = 0; i < s.res.n; i++)
		if (s.res.items[i].state == CHECK_UNUSED)
			cr_expect(digest_equal(&s.res.items[i].finding.digest,
					       &stray));
	is_sound();
	registry_free(empty);
}
