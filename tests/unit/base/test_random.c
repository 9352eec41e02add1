#include "base/random.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

Test(random, stays_below_and_reaches_all)
{
	unsigned seen[7] = {0};

	cr_assert(eq(u64, random_below(0), 0));
	cr_assert(eq(u64, random_below(1), 0));
	for (int i = 0; i < 7000; i++) {
		uint64_t v = random_below(7);

		cr_assert(lt(u64, v, 7));
		seen[v]++;
	}
	/* 1,000 expected, 29 the standard deviation. */
	for (int i = 0; i < 7; i++)
		cr_assert(seen[i] > 700 && seen[i] < 1300, "%d: %u", i,
			  seen[i]);
	cr_assert(ne(u64, random_below(UINT64_MAX), random_below(UINT64_MAX)));
}
