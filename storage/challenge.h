/*
 * WWW-Authenticate: what a server wants to see (RFC 9110 section 11.6.1).
 *
 * One field may hold several challenges, and an answer several fields; commas
 * separate challenges as well as parameters, and quoted strings hide commas.
 *
 * Threads: any.
 */
#ifndef STORAGE_CHALLENGE_H
#define STORAGE_CHALLENGE_H

#include <stddef.h>

#define CHALLENGES_MAX       16
#define CHALLENGE_PARAMS_MAX 32
#define CHALLENGE_VALUE_MAX  4096

struct challenge_param {
	char *name; /* lower case */
	char *value;
};

struct challenge {
	char *scheme;  /* lower case */
	char *token68; /* NULL, or what stands in place of parameters */
	struct challenge_param params[CHALLENGE_PARAMS_MAX];
	size_t n_params;
};

struct challenges {
	struct challenge *v;
	size_t n;
	size_t cap;
};

/*
 * Append the challenges of one field value. Returns 0, or -EINVAL when it is
 * malformed or over a limit: then what came whole before the fault is kept.
 */
int challenges_parse(struct challenges *cs, const char *field);
/* First of that lower-case scheme, or NULL. */
const struct challenge *challenges_find(const struct challenges *cs,
					const char *scheme);
/* NULL when absent. */
const char *challenge_param(const struct challenge *c, const char *name);
void challenges_release(struct challenges *cs);
#define cleanup_challenges __attribute__((cleanup(challenges_release)))

#endif
