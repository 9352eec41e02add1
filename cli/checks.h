/*
 * What `doctor` finds, of mops and of mopsfs: a list of checks, of which each
 * is a line: what is, and what to do about it when it is not as it could be.
 *
 * Threads: one.
 */
#ifndef CLI_CHECKS_H
#define CLI_CHECKS_H

#include "base/error.h"
#include "base/json.h"

enum check_state {
	CHECK_OK,
	CHECK_NOTE,    /* something is done without, which costs a little */
	CHECK_WARNING, /* something is about to fail, or does in part */
	CHECK_FAILED,  /* a command fails of it */
	CHECK_STATES,
};

struct check {
	char *name; /* "cache.space": a stable name */
	enum check_state state;
	char *detail;
	char *remedy;    /* NULL for CHECK_OK alone */
	int exit_status; /* of one that failed */
};

struct checks {
	struct check *v;
	size_t n, cap;
};
void checks_release(struct checks *k);
#define cleanup_checks __attribute__((cleanup(checks_release)))

void check_ok(struct checks *k, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Anything but CHECK_OK. */
void check_bad(struct checks *k, enum check_state state, const char *name,
	       const char *remedy, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* A command would end with @err; its advice is the remedy, else @remedy is. */
void check_error(struct checks *k, const char *name, const struct error *err,
		 const char *remedy);

size_t checks_count(const struct checks *k, enum check_state state);
/* Of the first that failed; 0: none did. */
int checks_exit_status(const struct checks *k);

/* A line each on stdout; @quiet: of those that are not as they could be. */
void checks_print(const struct checks *k, bool quiet);
/* "checks": an array of {"check","detail","exit_code","remedy","state"}. */
void checks_put(const struct checks *k, struct json_writer *w);
/* An object on stdout, with them, how many they are, and what @put_more adds;
 * it may be NULL. */
void checks_print_json(const struct checks *k,
		       void (*put_more)(const void *ctx, struct json_writer *w),
		       const void *ctx);
/* Add what another program put so. -EINVAL. */
int checks_take(struct checks *k, const struct json *checks,
		struct error **errp);

#endif
