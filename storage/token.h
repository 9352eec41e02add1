/*
 * Bearer tokens of the distribution token protocol: the scopes that are asked
 * for, the request, the answer. No network here.
 *
 * Threads: any.
 */
#ifndef STORAGE_TOKEN_H
#define STORAGE_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uri.h"

#define TOKEN_BODY_MAX 65536
#define TOKEN_MAX      32768
#define SCOPES_MAX     16
#define SCOPE_MAX      1024

/*
 * Add the blank-separated @scopes to *@list (NULL-ended, heap; may be NULL).
 * Each is "resource:actions", the actions separated by commas, or a bare word.
 * A resource is listed once, with the union of its actions, sorted; what came
 * first stays first. -EINVAL for bytes that no scope has, -EFBIG above a limit:
 * what came whole before is kept.
 */
int scopes_add(char ***list, const char *scopes);

struct token_answer {
	char *token;
	char *refresh_token; /* or NULL */
	int64_t life_ms;     /* from its receipt on, > 0 */
};
/* A lifetime that is not said is a minute. -EINVAL unless there is a token
 * that can stand in a header. Nothing of @buf gets into the message. */
int token_answer_parse(const char *buf, size_t n, struct token_answer *ret,
		       struct error **errp);
void token_answer_release(struct token_answer *a);
#define cleanup_token_answer __attribute__((cleanup(token_answer_release)))

/* What is asked for. @service, @user may be NULL. */
struct token_request {
	const char *service;
	char *const *scopes;       /* NULL-ended or NULL */
	const char *user, *secret; /* a login, or */
	const char *refresh_token; /* this */
};
/* GET: complete the query of @url. Only the user's name goes in. */
void token_request_query(const struct token_request *rq, struct http_url *url);
/* POST (OAuth 2): the form, heap, *@ret_len bytes. Wipe it. */
char *token_request_form(const struct token_request *rq, size_t *ret_len);

/* Whether two names have one owner, as far as names can tell: the last two
 * labels agree, or three below "co.uk" and the like. False for addresses. */
bool hosts_same_site(const char *a, const char *b);

#endif
