#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "storage/http_internal.h"

Test(http_rate, without_a_limit_all_passes)
{
	struct rate_limit r;

	rate_limit_init(&r, 0);
	cr_expect(rate_limit_take(&r, SIZE_MAX / 2));
	cr_expect(eq(i64, rate_limit_wait_ms(&r), 0));
}

Test(http_rate, holds_what_is_over_and_says_for_how_long)
{
	struct rate_limit r;

	rate_limit_init(&r, 1000000);
	r.balance = 1;
	r.last_ns = time_mono_ns();
	cr_expect(rate_limit_take(&r, 500000), "one piece may overdraw");
	cr_expect(not(rate_limit_take(&r, 1)));
	cr_expect(gt(i64, rate_limit_wait_ms(&r), 400));
	cr_expect(lt(i64, rate_limit_wait_ms(&r), 510));
	r.last_ns -= 600 * NS_PER_MS; /* as if that long had passed */
	cr_expect(rate_limit_take(&r, 1));
}

Test(http_rate, saves_up_a_tenth_of_a_second_at_most)
{
	struct rate_limit r;

	rate_limit_init(&r, 1000000);
	r.last_ns -= 3600 * NS_PER_S;
	cr_expect(rate_limit_take(&r, 1));
	cr_expect(le(i64, r.balance, 100001));
}

Test(http_ring, keeps_order_around_its_end)
{
	struct ring r = {.buf = xmalloc(7), .cap = 7};
	char out[8];
	char next_in = 0, next_out = 0;

	for (int i = 0; i < 1000; i++) {
		size_t n = (size_t)(i * 5 % 7), got;
		char in[8];

		for (size_t j = 0; j < MIN(n, ring_room(&r)); j++)
			in[j] = next_in++;
		ring_put(&r, in, MIN(n, ring_room(&r)));
		got = ring_take(&r, out, (size_t)(i * 3 % 5));
		for (size_t j = 0; j < got; j++)
			cr_assert(eq(chr, out[j], next_out++));
	}
	free(r.buf);
}

Test(http_ring, space_that_was_shown_stays_where_it_is)
{
	struct ring r = {.buf = xmalloc(8), .cap = 8};
	char out[8] = "";
	size_t n;
	char *space;

	ring_put(&r, "abc", 3);
	space = ring_space(&r, &n);
	memcpy(space, "de", 2);
	cr_assert(eq(sz, ring_take(&r, out, 3), 3)); /* emptied meanwhile */
	ring_filled(&r, 2);
	cr_assert(eq(sz, ring_take(&r, out, 8), 2));
	cr_expect(eq(int, memcmp(out, "de", 2), 0));
	free(r.buf);
}
