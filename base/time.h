/* Clocks. Nanoseconds of CLOCK_MONOTONIC unless a name says otherwise. */
#ifndef BASE_TIME_H
#define BASE_TIME_H

#include <stdint.h>
#include <time.h>

#define NS_PER_MS  1000000LL
#define NS_PER_S   1000000000LL
#define TIME_NEVER INT64_MAX

int64_t time_mono_ns(void);
/* The wall clock, since 1970. */
int64_t time_wall_s(void);
int64_t time_wall_ns(void);
static inline int64_t timespec_ns(const struct timespec *t)
{
	return (int64_t)t->tv_sec * NS_PER_S + t->tv_nsec;
}
/* Now plus @ms, saturating. */
int64_t time_deadline_ms(int64_t ms);
void time_sleep_ms(int64_t ms);
/* This boot's id as the kernel prints it (36 bytes and NUL); "" if unknown. */
const char *time_boot_id(void);

#endif
