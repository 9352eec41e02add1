/*
 * TAP for tests that are plain programs: threads, servers, processes.
 *
 * Main thread only. A check goes on after a failure; the exit status tells.
 */
#ifndef TESTS_TAP_H
#define TESTS_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tap_count, tap_failed;

__attribute__((format(printf, 4, 5))) static inline bool
tap_check(bool good, const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	printf("%sok %d - ", good ? "" : "not ", ++tap_count);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	if (!good) {
		tap_failed++;
		printf("# at %s:%d\n", file, line);
	}
	fflush(stdout);
	return good;
}

/* One test point: a condition and what it means. */
#define ok(cond, ...) tap_check((cond), __FILE__, __LINE__, __VA_ARGS__)

/* A test point that shows both numbers. */
#define is_int(got, want, ...)                                          \
	do {                                                            \
		long long got_ = (got), want_ = (want);                 \
		if (!ok(got_ == want_, __VA_ARGS__))                    \
			printf("# got %lld, want %lld\n", got_, want_); \
	} while (0)

/* The same for strings; NULL is allowed. */
#define is_str(got, want, ...)                                          \
	do {                                                            \
		const char *got_ = (got), *want_ = (want);              \
		if (!ok(got_ && strcmp(got_, want_) == 0, __VA_ARGS__)) \
			printf("# got '%s', want '%s'\n",               \
			       got_ ? got_ : "(null)", want_);          \
	} while (0)

/* Leave, saying why nothing was tested; a failure where MOPS_TEST_REQUIRE is
 * "all". */
__attribute__((noreturn)) static inline void tap_skip_all(const char *why)
{
	const char *require = getenv("MOPS_TEST_REQUIRE");

	if (require && strcmp(require, "all") == 0) {
		printf("1..1\nnot ok 1 - required: %s\n", why);
		exit(1);
	}
	printf("1..0 # SKIP %s\n", why);
	exit(0);
}

/* The plan, at the end. Returns the exit status. */
static inline int tap_done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed ? 1 : 0;
}

#endif
