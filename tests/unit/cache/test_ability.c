#include "cache/ability.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <sys/statvfs.h>

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

TestSuite(ability, .init = setup, .fini = teardown);

Test(ability, is_tried_and_leaves_nothing_behind)
{
	struct cache_abilities a;
	struct statvfs st;

	cr_assert(eq(int, cache_probe(f.c, &a, NULL), 0));
	cr_expect(eq(int, a.writes, 0));
	cr_expect(a.hardlinks);
	cr_expect(a.locks);
	cr_assert(eq(int, statvfs(f.dir, &st), 0));
	cr_expect(le(u64, a.free_bytes, (uint64_t)st.f_blocks * st.f_frsize));
	cr_expect(gt(u64, a.free_bytes, 0));
	cr_expect(eq(u32, count_files(&f, "tmp"), 0));
}
