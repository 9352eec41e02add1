/* What is damaged in a cache, and who needs it. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
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

TestSuite(verify_cache, .init = setup, .fini = teardown);

#define BIG (3u * CHUNK_SIZE + 77)

static const struct check_item *only(void)
{
	cr_assert(eq(int, cached_verify(&s, false, NULL), 0));
	cr_assert(eq(sz, s.res.n, 1));
	return &s.res.items[0];
}

Test(verify_cache, finds_nothing_in_a_sound_cache)
{
	cr_assert(eq(int, cached_verify(&s, false, NULL), 0));
	cr_expect(eq(u64, s.res.report.damaged, 0));
	cr_expect(eq(u64, s.res.report.blobs, count_files(&s.f, "blobs")));
	cr_expect(eq(sz, s.res.n, 0));
	cr_expect(eq(sz, s.res.n_unchecked, 0));
	cr_expect(eq(u64, s.res.left, 0));
}

Test(verify_cache, names_the_bundle_and_the_file)
{
	const struct check_item *it;
	const struct check_use *u;

	cached_damage(&s, &s.m.big, 12345);
	it = only();
	cr_expect(digest_equal(&it->finding.digest, &s.m.big));
	cr_expect(eq(int, (int)it->finding.kind, CACHE_DAMAGED_BLOB));
	cr_expect(eq(int, (int)it->state, CHECK_DAMAGED));
	cr_expect(not(it->is_index));
	cr_expect(eq(u64, it->want_size, BIG));
	cr_assert(eq(sz, it->n, 1));
	u = &it->uses[0];
	cr_expect(digest_equal(&u->bundle, &s.m.digest));
	cr_expect(eq(str, u->reference, "reg.example/" BUNDLE_REPO ":1.0"));
	cr_expect(eq(str, u->what, "layer 'data'"));
	cr_expect(eq(u64, u->files, 1), "once, though two trees have it");
	cr_expect(eq(str, u->paths[0], "data/big.bin"));
	cr_expect(eq(u64, s.res.left, 1));
}

Test(verify_cache, names_all_files_of_a_pack)
{
	const struct check_use *u;

	cached_damage(&s, &s.m.pack_of_code, 600);
	u = only()->uses;
	cr_assert(eq(sz, s.res.items[0].n, 1));
	cr_expect(eq(str, u->what, "layer 'code'"));
	cr_expect(eq(u64, u->files, 4));
	cr_expect(eq(sz, strv_len(u->paths), 4));
	cr_expect(eq(str, u->paths[0], "README.md"));
}

Test(verify_cache, knows_a_manifest_from_a_content)
{
	const struct check_item *it;

	cached_damage(&s, &s.m.digest, 5);
	it = only();
	cr_expect(it->is_index);
	cr_assert(eq(sz, it->n, 1));
	cr_expect(eq(str, it->uses[0].what, "manifest"));
	cr_expect(eq(int, (int)it->state, CHECK_DAMAGED));
}

Test(verify_cache, what_no_bundle_needs_is_unused)
{
	struct digest d = cached_stray(&s);
	const struct check_item *it = only();

	cr_expect(digest_equal(&it->finding.digest, &d));
	cr_expect(eq(sz, it->n, 0));
	cr_expect(eq(int, (int)it->state, CHECK_UNUSED));
	cr_expect(eq(u64, s.res.unused, 1));
	cr_expect(eq(u64, s.res.left, 0));
}

/* Perhaps it needs this one. */
Test(verify_cache, nothing_is_unused_when_a_bundle_cannot_be_looked_into)
{
	cached_stray(&s);
	cached_damage(&s, &s.m.digest, 5);
	cr_assert(eq(int, cached_verify(&s, false, NULL), 0));
	cr_expect(eq(sz, s.res.n, 2));
	cr_expect(eq(u64, s.res.unused, 0));
	cr_expect(eq(u64, s.res.left, 2));
}

/* Read errors, as a server has them: this program's pread() is what the cache
 * calls. */
static size_t denied;

ssize_t pread64(int fd, void *buf, size_t n, off64_t off)
{
	if (denied && n == denied) {
		errno = EACCES;
		return -1;
	}
	return syscall(SYS_pread64, fd, buf, n, off);
}

Test(verify_cache, what_cannot_be_read_is_kept_and_named)
{
	denied = BIG % CHUNK_SIZE; /* the last of its chunks */
	cr_assert(eq(int, cached_verify(&s, false, NULL), 0));
	denied = 0;
	cr_expect(eq(u64, s.res.report.damaged, 0));
	cr_expect(eq(u64, s.res.report.unchecked, 1));
	cr_assert(eq(sz, s.res.n_unchecked, 1));
	cr_expect(digest_equal(&s.res.unchecked[0].digest, &s.m.big));
	cr_expect(eq(int, s.res.unchecked[0].error, EACCES));
	cr_expect(cache_blob_exists(s.f.c, &s.m.big, BIG));
}

Test(verify_cache, ends_when_it_is_told_to)
{
	const struct verify_cache_options o = {0};
	struct verify_cache_result res;
	atomic_bool stop = true;
	struct op op = OP_INIT;

	op.cancelled = &stop;
	cr_expect(eq(int, verify_cache(s.m.session, &o, &res, &op, NULL),
		     -ECANCELED));
	cr_expect(eq(u64, res.report.blobs, 0));
	verify_cache_release(&res);
}
