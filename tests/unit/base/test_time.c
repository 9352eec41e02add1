#include "base/time.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <ctype.h>
#include <string.h>
#include <time.h>

Test(time, monotonic_clock_moves_forward_over_a_sleep)
{
	int64_t t = time_mono_ns();

	time_sleep_ms(20);
	cr_assert(ge(i64, time_mono_ns() - t, 20 * NS_PER_MS));
	time_sleep_ms(0);
	time_sleep_ms(-5);
}

Test(time, deadlines_saturate)
{
	cr_assert(eq(i64, time_deadline_ms(INT64_MAX), TIME_NEVER));
	cr_assert(eq(i64, time_deadline_ms(INT64_MAX / 1000000), TIME_NEVER));
	cr_assert(le(i64, time_deadline_ms(INT64_MIN), 0));
	cr_assert(gt(i64, time_deadline_ms(60000), time_mono_ns()));
	cr_assert(lt(i64, time_deadline_ms(-1), time_mono_ns()));
}

Test(time, wall_clock_is_the_system_s)
{
	int64_t diff = time_wall_s() - (int64_t)time(NULL);

	cr_assert(diff >= -1 && diff <= 1);
}

Test(time, boot_id_is_a_uuid_and_stays)
{
	const char *id = time_boot_id();

	cr_assert(eq(sz, strlen(id), 36));
	for (size_t i = 0; i < 36; i++)
		cr_assert(id[i] == '-' || isxdigit((unsigned char)id[i]));
	cr_assert(eq(str, id, time_boot_id()));
}
