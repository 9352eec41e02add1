/*
 * Asking a credential provider: a token endpoint, a metadata service. Answers
 * are small and bounded, every try has a time limit, and nothing of what goes
 * out or comes back is logged.
 *
 * Threads: any.
 */
#ifndef STORAGE_PROVIDER_H
#define STORAGE_PROVIDER_H

#include "base/json.h"
#include "storage/http.h"
#include "storage/keeper.h"

#define PROVIDER_ANSWER_MAX 65536
#define PROVIDER_FILE_MAX   65536

struct provider_request {
	const char *name; /* for messages: "the instance's metadata" */
	enum http_method method;
	const char *url;
	const char *const *headers; /* NULL-ended or NULL */
	const char *authorization;
	const char *form;         /* a body to POST; NULL: none */
	const char *content_type; /* of it; NULL: a form */
	const char *ca_file;      /* see http.h */
	int64_t try_ms;           /* time limit of one try */
	unsigned tries;
	bool wait_gone; /* 404 and 410 pass: ask again */
};

/* 0 with a 2xx answer in *@ret, to be released with provider_release(); or
 * -errno. -ENOTCONN: nobody there answers. -EACCES: it refused (its words are
 * in the error). */
int provider_ask(struct http_client *client, const struct provider_request *rq,
		 struct http_response *ret, const struct op *op,
		 struct error **errp);
/* The same for an answer that is a JSON object; json_wipe() it. */
int provider_ask_json(struct http_client *client,
		      const struct provider_request *rq, struct json **ret,
		      const struct op *op, struct error **errp);
/* The JSON in an answer. */
int provider_parse(const struct http_response *r, const char *name,
		   struct json **ret, struct error **errp);
void provider_release(struct http_response *r);
static inline void json_wipe_freep(struct json **j)
{
	json_wipe(*j);
	json_free(*j);
	*j = 0;
}
#define cleanup_secret_json __attribute__((cleanup(json_wipe_freep)))

/* OAuth's answer: access_token and expires_in (a number or its text). */
int provider_token(const struct json *doc, const char *name,
		   struct secret **ret, struct error **errp);

/* "2026-01-02T03:04:05Z" (fractions ignored); -1 when malformed. */
int64_t provider_time(const char *s);

/* "&name=value", encoded; the first one without '&'. */
void provider_form_add(struct strbuf *form, const char *name,
		       const char *value);

/* A secret file, blanks at its end cut off; heap, to be wiped. */
int provider_read_file(const char *path, char **ret, struct error **errp);
/* The value of an environment variable; NULL when unset or empty. */
const char *provider_env(const char *name);

#endif
