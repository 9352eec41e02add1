#include "storage/retry.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>

#include "base/alloc.h"

static const struct retry_times times = {
	.connect_ms = 1000, .stall_ms = 1000, .io_ms = 60000};

static struct retry start(void)
{
	struct retry r;

	retry_init(&r, &times, TIME_NEVER);
	return r;
}

Test(retry, every_attempt_has_its_row)
{
	for (int a = 0; a < ATTEMPT_KINDS; a++) {
		const struct retry_rule *rule = retry_rule(a);

		cr_expect(eq(int, rule->attempt, a));
		cr_expect(ne(ptr, (void *)rule->what, NULL));
		cr_expect(a == ATTEMPT_OK || rule->code > 0, "%d", a);
	}
}

Test(retry, statuses_mean_what_the_table_says)
{
	static const struct {
		long status;
		enum attempt a;
	} cases[] = {
		{200, ATTEMPT_OK},        {206, ATTEMPT_OK},
		{301, ATTEMPT_PROTOCOL},  {304, ATTEMPT_PROTOCOL},
		{400, ATTEMPT_REJECTED},  {401, ATTEMPT_UNAUTHORIZED},
		{403, ATTEMPT_FORBIDDEN}, {404, ATTEMPT_NOT_FOUND},
		{405, ATTEMPT_REJECTED},  {408, ATTEMPT_BUSY},
		{410, ATTEMPT_NOT_FOUND}, {412, ATTEMPT_REJECTED},
		{416, ATTEMPT_RANGE},     {425, ATTEMPT_BUSY},
		{429, ATTEMPT_BUSY},      {500, ATTEMPT_BUSY},
		{501, ATTEMPT_REJECTED},  {502, ATTEMPT_BUSY},
		{503, ATTEMPT_BUSY},      {504, ATTEMPT_BUSY},
		{100, ATTEMPT_PROTOCOL},  {0, ATTEMPT_PROTOCOL},
		{999, ATTEMPT_PROTOCOL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		cr_expect(eq(int, attempt_of_status(cases[i].status),
			     cases[i].a),
			  "%ld", cases[i].status);
}

Test(retry, what_cannot_get_better_is_tried_once)
{
	static const enum attempt once[] = {
		ATTEMPT_TLS,       ATTEMPT_UNAUTHORIZED, ATTEMPT_FORBIDDEN,
		ATTEMPT_RANGE,     ATTEMPT_PROTOCOL,     ATTEMPT_REJECTED,
		ATTEMPT_TOO_BIG,   ATTEMPT_ADDRESS,      ATTEMPT_LOCAL,
		ATTEMPT_CANCELLED, ATTEMPT_DEADLINE,     ATTEMPT_NOT_FOUND,
	};

	for (size_t i = 0; i < ARRAY_SIZE(once); i++) {
		struct retry r = start();

		cr_expect(eq(i64, retry_next_ms(&r, once[i], -1), -1));
	}
}

Test(retry, an_unknown_host_is_looked_up_three_times)
{
	struct retry r = start();

	cr_expect(ge(i64, retry_next_ms(&r, ATTEMPT_DNS_UNKNOWN, -1), 0));
	cr_expect(ge(i64, retry_next_ms(&r, ATTEMPT_DNS_UNKNOWN, -1), 0));
	cr_expect(eq(i64, retry_next_ms(&r, ATTEMPT_DNS_UNKNOWN, -1), -1));
}

Test(retry, what_must_exist_is_asked_for_twice)
{
	struct retry r = start();

	r.must_exist = true;
	cr_expect(ge(i64, retry_next_ms(&r, ATTEMPT_NOT_FOUND, -1), 0));
	cr_expect(eq(i64, retry_next_ms(&r, ATTEMPT_NOT_FOUND, -1), -1));
}

Test(retry, waits_double_up_to_ten_seconds_with_full_jitter)
{
	for (int round = 0; round < 50; round++) {
		struct retry r = start();
		int64_t bound = 100;

		for (int i = 0; i < 12; i++) {
			int64_t ms = retry_next_ms(&r, ATTEMPT_RESET, -1);

			cr_assert(ge(i64, ms, 0));
			cr_assert(le(i64, ms, bound));
			bound = MIN(bound * 2, 10000);
		}
	}
}

Test(retry, progress_moves_the_budget_and_the_waits_back)
{
	struct retry r = start();

	for (int i = 0; i < 10; i++)
		retry_next_ms(&r, ATTEMPT_RESET, -1);
	r.deadline_ns = time_mono_ns() - 1;
	cr_expect(eq(i64, retry_next_ms(&r, ATTEMPT_RESET, -1), -1));
	retry_progress(&r, 1);
	cr_expect(le(i64, retry_next_ms(&r, ATTEMPT_RESET, -1), 100));
}

Test(retry, a_trickle_over_many_requests_is_no_progress)
{
	struct retry r = start();

	r.deadline_ns = time_mono_ns() - 1;
	r.moved_ns = time_mono_ns() - 10 * NS_PER_S;
	retry_progress(&r, 5 * STALL_BYTES_S);
	cr_expect(eq(i64, retry_next_ms(&r, ATTEMPT_STALL, -1), -1));
	retry_progress(&r, 5 * STALL_BYTES_S);
	cr_expect(ge(i64, retry_next_ms(&r, ATTEMPT_STALL, -1), 0));
}

Test(retry, the_servers_wish_is_obeyed_within_the_budget)
{
	struct retry r = start();
	int64_t ms = retry_next_ms(&r, ATTEMPT_BUSY, 5000);

	cr_expect(ge(i64, ms, 5000));
	cr_expect(lt(i64, ms, 5200));
	cr_expect(eq(i64, retry_next_ms(&r, ATTEMPT_BUSY, 61000), -1));
}

Test(retry, a_hard_deadline_ends_what_progress_would_keep_going)
{
	struct retry r;

	retry_init(&r, &times, time_mono_ns() - 1);
	retry_progress(&r, 1);
	cr_expect(eq(i64, retry_next_ms(&r, ATTEMPT_RESET, -1), -1));
}

Test(retry, an_endless_budget_stays_endless)
{
	static const struct retry_times hard = {1000, 1000, INT64_MAX};
	struct retry r;

	retry_init(&r, &hard, TIME_NEVER);
	cr_expect(eq(i64, retry_give_up_ns(&r), TIME_NEVER));
	cr_expect(ge(i64, retry_next_ms(&r, ATTEMPT_BUSY, 86400000), 86400000));
}

Test(retry, a_wait_ends_when_the_operation_does)
{
	atomic_bool cancelled = true;
	struct op op = OP_INIT;

	op.cancelled = &cancelled;
	cr_expect(eq(int, retry_wait(60000, &op), ATTEMPT_CANCELLED));
	op.cancelled = NULL;
	op.deadline_ns = time_deadline_ms(30);
	cr_expect(eq(int, retry_wait(60000, &op), ATTEMPT_DEADLINE));
	cr_expect(eq(int, retry_wait(1, NULL), ATTEMPT_OK));
}
