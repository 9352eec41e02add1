/*
 * What the edge prints: results to stdout, everything else to stderr, every
 * foreign byte escaped.
 *
 * Threads: one.
 */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <stdbool.h>

#include "base/error.h"
#include "base/json.h"
#include "base/strbuf.h"

enum exit_status {
	EXIT_STATUS_DIFFERENT = 13, /* diff --exit-code */
	EXIT_STATUS_SIGINT = 130,
	EXIT_STATUS_SIGTERM = 143,
};

/* The exit status of an error: the number of its kind. */
int output_exit_status(const struct error *err);

/* What goes with an error in JSON alone. Members may be NULL. */
struct error_more {
	char *const *details; /* lines, NULL-ended */
	const char *findings; /* a JSON array */
};

/*
 * The one place where an error is printed: `NAME: message` and, when there is
 * advice, a second line; with @json the object
 * {"details","error","exit_code","findings","hint","message"} on stdout
 * instead. @more may be NULL.
 */
void output_error(const char *name, bool json, const struct error *err,
		  const struct error_more *more);

/* A string member of any bytes, escaped as for a terminal. */
void output_put_text(struct json_writer *w, const char *key, const char *text);
/* Between the items of one that may be too long to be held: what there is, once
 * it is worth it; @doc is empty then. The rest goes to output_json(). */
void output_json_part(struct strbuf *doc);
/* One JSON document, as one line on stdout that does nothing to a terminal. */
void output_json(const struct strbuf *doc);

/* "1.5 GiB": for people. */
struct size_text {
	char str[24];
};
struct size_text output_size(uint64_t bytes);

/* Everything printed reached stdout? Else exit 3: a full disk or a closed pipe
 * must not look like success. */
int output_flush(struct error **errp);

#endif
