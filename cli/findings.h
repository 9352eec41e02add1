/*
 * What `doctor` finds, of mops and of mopsfs: a list of checks, of which each
 * is a line: what is, and what to do about it when it is not as it could be.
 *
 * Threads: one.
 */
#ifndef CLI_FINDINGS_H
#define CLI_FINDINGS_H

#include "base/error.h"
#include "base/json.h"

enum finding_state {
	FINDING_OK,
	FINDING_NOTE,    /* something is done without, which costs a little */
	FINDING_WARNING, /* something is about to fail, or does in part */
	FINDING_FAILED,  /* a command fails of it */
	FINDING_STATES,
};

struct finding {
	char *check; /* "cache.space": a stable name */
	enum finding_state state;
	char *detail;
	char *remedy;    /* NULL for FINDING_OK alone */
	int exit_status; /* of one that failed */
};

struct findings {
	struct finding *v;
	size_t n, cap;
};
void findings_release(struct findings *f);
#define cleanup_findings __attribute__((cleanup(findings_release)))

void finding_ok(struct findings *f, const char *check, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Anything but FINDING_OK. */
void finding_bad(struct findings *f, enum finding_state state,
		 const char *check, const char *remedy, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* A command would end with @err; its advice is the remedy, else @remedy is. */
void finding_error(struct findings *f, const char *check,
		   const struct error *err, const char *remedy);

size_t findings_count(const struct findings *f, enum finding_state state);
/* Of the first that failed; 0: none did. */
int findings_exit_status(const struct findings *f);

/* A line each on stdout; @quiet: of those that are not as they could be. */
void findings_print(const struct findings *f, bool quiet);
/* "checks": an array of {"check","detail","exit_code","remedy","state"}. */
void findings_put(const struct findings *f, struct json_writer *w);
/* An object on stdout, with them, how many they are, and what @put_more adds;
 * it may be NULL. */
void findings_print_json(const struct findings *f,
			 void (*put_more)(const void *ctx,
					  struct json_writer *w),
			 const void *ctx);
/* Add what another program put so. -EINVAL. */
int findings_take(struct findings *f, const struct json *checks,
		  struct error **errp);

#endif
