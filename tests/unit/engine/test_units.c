#include "engine/units.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>

#include "base/alloc.h"

Test(units, reads_sizes)
{
	static const struct {
		const char *text;
		uint64_t want;
	} good[] = {
		{"0", 0},
		{"512", 512},
		{"512B", 512},
		{"007", 7},
		{"1kB", 1000},
		{"1KB", 1000},
		{"100MB", 100000000},
		{"3GB", 3000000000},
		{"2TB", 2000000000000},
		{"1PB", 1000000000000000},
		{"1KiB", 1024},
		{"1MiB", 1048576},
		{"1GiB", 1073741824},
		{"1TiB", 1099511627776},
		{"1PiB", 1125899906842624},
		{"9223372036854775807", INT64_MAX},
		{"8191PiB", 8191ull << 50},
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		uint64_t v = 1;

		cr_expect(parse_size(good[i].text, &v) == 0, "%s",
			  good[i].text);
		cr_expect(v == good[i].want, "%s", good[i].text);
	}
}

Test(units, refuses_what_is_no_size)
{
	static const struct {
		const char *text;
		int want;
	} bad[] = {
		{"", -EINVAL},        {"MB", -EINVAL},
		{"-1", -EINVAL},      {"+1", -EINVAL},
		{" 1", -EINVAL},      {"1 ", -EINVAL},
		{"1 MB", -EINVAL},    {"1.5MB", -EINVAL},
		{"1,5", -EINVAL},     {"0x10", -EINVAL},
		{"1e3", -EINVAL},     {"1mb", -EINVAL},
		{"1Mb", -EINVAL},     {"1M", -EINVAL},
		{"1kiB", -EINVAL},    {"1MBs", -EINVAL},
		{"1EB", -EINVAL},     {"9223372036854775808", -ERANGE},
		{"8192PiB", -ERANGE}, {"99999999999999999999999", -ERANGE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint64_t v = 1;

		cr_expect(parse_size(bad[i].text, &v) == bad[i].want, "%s",
			  bad[i].text);
		cr_expect(v == 1, "%s", bad[i].text);
	}
}

Test(units, reads_durations)
{
	int64_t v;

	cr_expect(parse_duration_ms("10s", &v) == 0 && v == 10000);
	cr_expect(parse_duration_ms("10", &v) == 0 && v == 10000);
	cr_expect(parse_duration_ms("2m", &v) == 0 && v == 120000);
	cr_expect(parse_duration_ms("500ms", &v) == 0 && v == 500);
	cr_expect(parse_duration_ms("1h", &v) == 0 && v == 3600000);
	cr_expect(parse_duration_ms("hard", &v) == 0 && v == DURATION_HARD);
	cr_expect(parse_duration_ms("", &v) == -EINVAL);
	cr_expect(parse_duration_ms("s", &v) == -EINVAL);
	cr_expect(parse_duration_ms("1d", &v) == -EINVAL);
	cr_expect(parse_duration_ms("1S", &v) == -EINVAL);
	cr_expect(parse_duration_ms("-1s", &v) == -EINVAL);
	cr_expect(parse_duration_ms("100000h", &v) == -ERANGE);
}
