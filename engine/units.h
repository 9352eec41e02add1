/*
 * Sizes and durations as people write them.
 */
#ifndef ENGINE_UNITS_H
#define ENGINE_UNITS_H

#include <stdint.h>

#define DURATION_HARD INT64_MAX

/*
 * "512", "100MB", "1GiB" → bytes: a whole number, and B, a decimal unit (kB,
 * KB, MB, GB, TB, PB: powers of 1,000) or a binary one (KiB … PiB: powers of
 * 1,024). -EINVAL; -ERANGE over INT64_MAX.
 */
int parse_size(const char *s, uint64_t *ret);

/*
 * "500ms", "10s", "2m", "1h", or seconds without a unit → milliseconds; "hard"
 * → DURATION_HARD. -EINVAL; -ERANGE for more than 10 years.
 */
int parse_duration_ms(const char *s, int64_t *ret);

#endif
