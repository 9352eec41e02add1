#include "storage/provider.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/io.h"
#include "base/secret.h"
#include "storage/object_http.h"

#define PAUSE_FIRST_MS 200
#define LIFE_DEFAULT_S 300 /* of a token that does not say */
#define LIFE_MAX_S     (365 * 86400)

static const struct json_limits answer_limits = {
	.max_bytes = PROVIDER_ANSWER_MAX,
	.max_values = 1000,
};

void provider_release(struct http_response *r)
{
	if (r->body)
		explicit_bzero(r->body, r->body_len);
	http_response_release(r);
}

static int refused(const struct provider_request *rq,
		   const struct http_response *r, struct error **errp)
{
	struct object_said said;
	enum attempt a = attempt_of_status(r->status);
	int code = a == ATTEMPT_NOT_FOUND ? ENOENT : EACCES;

	object_said_json(r, &said);
	if (!said.code[0])
		object_said_xml(r, &said);
	if (a == ATTEMPT_BUSY)
		code = ETIMEDOUT;
	if (said.code[0])
		return error_set(errp, code, "%s: status %ld (%s: %s)",
				 rq->name, r->status, said.code, said.words);
	return error_set(errp, code, "%s: status %ld", rq->name, r->status);
}

static enum attempt ask_once(struct http_client *client,
			     const struct provider_request *rq,
			     const struct http_url *url,
			     struct http_response *ret, const struct op *op,
			     struct error **errp)
{
	struct op brief = op ? *op : (struct op)OP_INIT;
	struct feed_mem body;
	struct http_request hr = {
		.method = rq->method,
		.url = *url,
		.headers = rq->headers,
		.authorization = rq->authorization,
		.max_body = PROVIDER_ANSWER_MAX,
		.user_host = true,
		.ca_file = rq->ca_file,
		.no_cert = true, /* that is for registries */
	};
	enum attempt a;

	/* What the user's own transfer counts are not these bytes. */
	brief.bytes_in = brief.bytes_out = NULL;
	brief.deadline_ns =
		MIN(brief.deadline_ns, time_deadline_ms(rq->try_ms));
	if (rq->form) {
		feed_mem_init(&body, rq->form, strlen(rq->form));
		hr.body = &body.feed;
		hr.content_type = rq->content_type
					  ? rq->content_type
					  : "application/x-www-form-urlencoded";
	}
	a = http_request(client, &hr, ret, NULL, NULL, &brief, errp);
	if (a == ATTEMPT_DEADLINE && (!op || time_mono_ns() < op->deadline_ns))
		a = ATTEMPT_STALL; /* the try's limit, not the operation's */
	return a;
}

static bool worth_again(const struct provider_request *rq, enum attempt a,
			const struct http_response *r)
{
	if (a == ATTEMPT_OK)
		return attempt_of_status(r->status) == ATTEMPT_BUSY ||
		       (rq->wait_gone &&
			(r->status == 404 || r->status == 410));
	return a == ATTEMPT_RESET || a == ATTEMPT_STALL ||
	       a == ATTEMPT_CONNECT || a == ATTEMPT_DNS_TEMPORARY ||
	       a == ATTEMPT_BUSY;
}

static bool nobody_there(enum attempt a)
{
	return a == ATTEMPT_CONNECT || a == ATTEMPT_STALL ||
	       a == ATTEMPT_DNS_TEMPORARY || a == ATTEMPT_DNS_UNKNOWN;
}

int provider_ask(struct http_client *client, const struct provider_request *rq,
		 struct http_response *ret, const struct op *op,
		 struct error **errp)
{
	cleanup_http_url struct http_url url = {0};
	int64_t pause = PAUSE_FIRST_MS;
	int r = http_url_parse(rq->url, &url, errp);

	if (r < 0)
		return error_prefix(errp, r, "%s", rq->name);
	for (unsigned i = 1;; i++) {
		struct error *err = NULL;
		enum attempt a = ask_once(client, rq, &url, ret, op, &err);

		if (a == ATTEMPT_OK && ret->status >= 200 && ret->status < 300)
			return 0;
		if (i < rq->tries && worth_again(rq, a, ret) &&
		    retry_wait(MAX(pause, ret->retry_after_ms), op) ==
			    ATTEMPT_OK) {
			error_free(err);
			provider_release(ret);
			pause *= 2;
			continue;
		}
		r = a == ATTEMPT_OK   ? refused(rq, ret, &err)
		    : nobody_there(a) ? -ENOTCONN
				      : http_code(a, ret);
		provider_release(ret);
		if (err)
			err->code = -r;
		if (a != ATTEMPT_OK)
			error_prefix(&err, r, "%s", rq->name);
		return error_propagate(errp, &err, r);
	}
}

int provider_parse(const struct http_response *r, const char *name,
		   struct json **ret, struct error **errp)
{
	if (json_parse(r->body ? r->body : "", r->body_len, &answer_limits, ret,
		       NULL) < 0)
		return error_set(errp, EPROTO, "%s: its answer is no JSON",
				 name);
	return 0;
}

int provider_ask_json(struct http_client *client,
		      const struct provider_request *rq, struct json **ret,
		      const struct op *op, struct error **errp)
{
	struct http_response answer = {.retry_after_ms = -1};
	int r = provider_ask(client, rq, &answer, op, errp);

	if (r < 0)
		return r;
	r = provider_parse(&answer, rq->name, ret, errp);
	provider_release(&answer);
	return r;
}

static int64_t life_of(const struct json *v)
{
	const char *text = json_str(v);
	int64_t n = LIFE_DEFAULT_S;

	if (text && strspn(text, "0123456789") == strlen(text) && *text &&
	    strlen(text) < 12)
		n = strtoll(text, NULL, 10);
	else if (json_int(v, &n) < 0)
		n = LIFE_DEFAULT_S;
	return MAX((int64_t)1, MIN(n, (int64_t)LIFE_MAX_S));
}

int provider_token(const struct json *doc, const char *name,
		   struct secret **ret, struct error **errp)
{
	const char *token = json_str(json_get(doc, "access_token"));
	struct secret *s;

	if (!token || !*token || strpbrk(token, "\r\n"))
		return error_set(errp, EPROTO,
				 "%s: no access token in its "
				 "answer",
				 name);
	s = secret_new();
	s->token = xstrdup(token);
	s->ends_s = time_wall_s() + life_of(json_get(doc, "expires_in"));
	*ret = s;
	return 1;
}

int64_t provider_time(const char *s)
{
	struct tm tm = {0};
	const char *end = s ? strptime(s, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;

	if (!end)
		return -1;
	if (*end == '.')
		end += 1 + strspn(end + 1, "0123456789");
	if (strcmp(end, "Z") != 0 && strcmp(end, "+00:00") != 0)
		return -1;
	return timegm(&tm);
}

void provider_form_add(struct strbuf *form, const char *name, const char *value)
{
	strbuf_addf(form, "%s%s=", form->len ? "&" : "", name);
	uri_encode(form, value, strlen(value), false);
}

int provider_read_file(const char *path, char **ret, struct error **errp)
{
	char *text = NULL;
	size_t n = 0;
	int r = io_read_file(AT_FDCWD, path, PROVIDER_FILE_MAX, &text, &n);

	if (r < 0)
		return error_set_errno(errp, -r, "cannot read '%s'", path);
	while (n && strchr(" \t\r\n", text[n - 1]))
		text[--n] = '\0';
	if (!n || memchr(text, '\0', n) || strpbrk(text, "\r\n")) {
		wipe_free(text, n);
		return error_set(errp, EINVAL, "'%s' holds no token", path);
	}
	*ret = text;
	return 0;
}

const char *provider_env(const char *name)
{
	const char *s = getenv(name);

	return s && *s ? s : NULL;
}
