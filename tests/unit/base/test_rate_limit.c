#include "base/rate_limit.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

Test(rate_limit, without_a_limit_all_passes)
{
	struct rate_limit r;

	rate_limit_init(&r, 0);
	cr_expect(rate_limit_take(&r, SIZE_MAX / 2));
	cr_expect(eq(i64, rate_limit_wait_ms(&r), 0));
}

Test(rate_limit, holds_what_is_over_and_says_for_how_long)
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

Test(rate_limit, saves_up_a_tenth_of_a_second_at_most)
{
	struct rate_limit r;

	rate_limit_init(&r, 1000000);
	r.last_ns -= 3600 * NS_PER_S;
	cr_expect(rate_limit_take(&r, 1));
	cr_expect(le(i64, r.balance, 100001));
}

Test(rate_gate, waits_until_the_bytes_may_pass)
{
	struct rate_gate g;
	int64_t start = time_mono_ns(), ms;

	rate_gate_init(&g, 1000000);
	for (int i = 0; i < 4; i++)
		cr_assert(eq(int, rate_gate_pass(&g, 100000, NULL), 0));
	ms = (time_mono_ns() - start) / NS_PER_MS;
	cr_expect(ge(i64, ms, 200), "the last is not waited for");
	cr_expect(lt(i64, ms, 5000));
	rate_gate_release(&g);
}

Test(rate_gate, ends_a_wait_when_asked)
{
	struct rate_gate g;
	atomic_bool stop = false;
	struct op op = OP_INIT;

	rate_gate_init(&g, 1000);
	cr_assert(eq(int, rate_gate_pass(&g, 100000, NULL), 0));
	op.deadline_ns = time_mono_ns() + 20 * NS_PER_MS;
	cr_expect(eq(int, rate_gate_pass(&g, 1, &op), -ETIMEDOUT));
	stop = true;
	op.cancelled = &stop;
	cr_expect(eq(int, rate_gate_pass(&g, 1, &op), -ECANCELED));
	rate_gate_release(&g);
}
