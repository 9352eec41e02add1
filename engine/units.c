#include "engine/units.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/alloc.h"

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit sizes[] = {
	{"", 1},
	{"B", 1},
	{"kB", 1000},
	{"KB", 1000},
	{"MB", 1000000},
	{"GB", 1000000000},
	{"TB", 1000000000000},
	{"PB", 1000000000000000},
	{"KiB", 1ull << 10},
	{"MiB", 1ull << 20},
	{"GiB", 1ull << 30},
	{"TiB", 1ull << 40},
	{"PiB", 1ull << 50},
};

static const struct unit durations[] = {
	{"", 1000},
	{"ms", 1},
	{"s", 1000},
	{"m", 60 * 1000},
	{"h", 60 * 60 * 1000},
};

/* Ten years: what is longer was a slip of the hand. */
#define DURATION_MAX (10ull * 366 * 24 * 3600 * 1000)

/* Digits, then one of @units; the product is at most @max. */
static int parse_number(const char *s, const struct unit *units, size_t n_units,
			uint64_t max, uint64_t *ret)
{
	const char *p = s;
	uint64_t v = 0;

	for (; *p >= '0' && *p <= '9'; p++) {
		uint64_t d = (uint64_t)(*p - '0');

		if (v > (max - d) / 10)
			return -ERANGE;
		v = v * 10 + d;
	}
	if (p == s)
		return -EINVAL;
	for (size_t i = 0; i < n_units; i++) {
		if (strcmp(p, units[i].name) != 0)
			continue;
		if (v > max / units[i].factor)
			return -ERANGE;
		*ret = v * units[i].factor;
		return 0;
	}
	return -EINVAL;
}

int parse_size(const char *s, uint64_t *ret)
{
	return parse_number(s, sizes, ARRAY_SIZE(sizes), INT64_MAX, ret);
}

int parse_duration_ms(const char *s, int64_t *ret)
{
	uint64_t ms;
	int r;

	if (strcmp(s, "hard") == 0) {
		*ret = DURATION_HARD;
		return 0;
	}
	r = parse_number(s, durations, ARRAY_SIZE(durations), DURATION_MAX,
			 &ms);
	if (r == 0)
		*ret = (int64_t)ms;
	return r;
}
