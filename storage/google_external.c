/*
 * An external account: a token of another issuer's, from a file or a local
 * address, is exchanged for one of Google's, and that, if the file says so, for
 * one of a service account.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "storage/gcs_internal.h"
#include "storage/provider.h"

#define CLOUD_SCOPE "https://www.googleapis.com/auth/cloud-platform"
#define EXCHANGE    "urn:ietf:params:oauth:grant-type:token-exchange"
#define ACCESS      "urn:ietf:params:oauth:token-type:access_token"
#define TRY_MS      10000
#define TRIES       3
#define HEADERS_MAX 16

static const struct json_limits token_limits = {
	.max_bytes = PROVIDER_FILE_MAX,
	.max_values = 1000,
};

/* The token within what a source gave: the text, or a member of a document. */
static int pick(const struct json *source, char **take_text, char **ret,
		struct error **errp)
{
	const struct json *format = json_get(source, "format");
	const char *type = json_str(json_get(format, "type"));
	cleanup_secret_json struct json *doc = NULL;
	const char *field, *token;

	if (!type || strcmp(type, "json") != 0) {
		*ret = steal_ptr(take_text);
		return 0;
	}
	field = json_str(json_get(format, "subject_token_field_name"));
	if (json_parse(*take_text, strlen(*take_text), &token_limits, &doc,
		       NULL) < 0 ||
	    !field)
		return error_set(errp, EINVAL,
				 "the subject token is not in "
				 "the form that is announced");
	token = json_str(json_get(doc, field));
	if (!token || !*token)
		return error_set(errp, EINVAL, "no subject token in '%s'",
				 field);
	*ret = xstrdup(token);
	return 0;
}

static int ask_source(struct google_identity *id, const struct json *source,
		      const char *url, char **ret, const struct op *op,
		      struct error **errp)
{
	const struct json *headers = json_get(source, "headers");
	cleanup_strv char **lines = NULL;
	struct provider_request rq = {
		.name = "the source of the subject token",
		.url = url,
		.try_ms = TRY_MS,
		.tries = TRIES,
	};
	struct http_response answer = {.retry_after_ms = -1};
	int r = google_check_url(url, errp);

	if (r < 0)
		return r;
	for (const struct json *m = json_first(headers); m; m = json_next(m)) {
		const char *v = json_str(m), *k = json_key(m);

		if (!v || strpbrk(v, "\r\n") || strpbrk(k, "\r\n:") ||
		    strv_len(lines) == HEADERS_MAX)
			return error_set(errp, EINVAL, "malformed 'headers'");
		strv_append(&lines, xasprintf("%s: %s", k, v));
	}
	rq.headers = (const char *const *)lines;
	r = provider_ask(id->metadata, &rq, &answer, op, errp);
	if (r < 0)
		return r;
	*ret = xstrndup(answer.body ? answer.body : "", answer.body_len);
	provider_release(&answer);
	return 0;
}

static int subject_token(struct google_identity *id, const struct json *source,
			 char **ret, const struct op *op, struct error **errp)
{
	const char *file = json_str(json_get(source, "file"));
	const char *url = json_str(json_get(source, "url"));
	cleanup_secret char *text = NULL;
	int r;

	if (json_get(source, "environment_id") ||
	    json_get(source, "executable"))
		return error_set(errp, EACCES,
				 "a 'credential_source' of this kind is not "
				 "supported: only file and url are");
	if (file)
		r = provider_read_file(file, &text, errp);
	else if (url)
		r = ask_source(id, source, url, &text, op, errp);
	else
		return error_set(errp, EINVAL, "no 'credential_source'");
	if (r < 0)
		return r;
	assert(text);
	return pick(source, &text, ret, errp);
}

static int exchange(struct google_identity *id, const struct json *doc,
		    const char *scope, struct secret **ret, const struct op *op,
		    struct error **errp)
{
	cleanup_secret_strbuf struct strbuf form = STRBUF_INIT;
	cleanup_secret_json struct json *answer = NULL;
	cleanup_secret char *token = NULL;
	const char *url, *audience, *type;
	struct provider_request rq = {
		.name = "Google's token exchange",
		.method = HTTP_POST,
		.try_ms = TRY_MS,
		.tries = TRIES,
	};
	int r = json_need_str(doc, "token_url", &url, errp);

	if (r == 0)
		r = json_need_str(doc, "audience", &audience, errp);
	if (r == 0)
		r = json_need_str(doc, "subject_token_type", &type, errp);
	if (r == 0)
		r = google_check_url(url, errp);
	if (r == 0)
		r = subject_token(id, json_get(doc, "credential_source"),
				  &token, op, errp);
	if (r < 0)
		return r;
	provider_form_add(&form, "grant_type", EXCHANGE);
	provider_form_add(&form, "audience", audience);
	provider_form_add(&form, "scope", scope);
	provider_form_add(&form, "requested_token_type", ACCESS);
	provider_form_add(&form, "subject_token_type", type);
	provider_form_add(&form, "subject_token", token);
	rq.url = url;
	rq.form = strbuf_str(&form);
	r = provider_ask_json(id->client, &rq, &answer, op, errp);
	if (r == 0)
		r = provider_token(answer, rq.name, ret, errp);
	if (r < 0)
		return r;
	assert(*ret);
	(*ret)->origin = "external account";
	return r;
}

static int impersonate(struct google_identity *id, const char *url,
		       const struct secret *as, struct secret **ret,
		       const struct op *op, struct error **errp)
{
	cleanup_secret char *bearer = xasprintf("Bearer %s", as->token);
	cleanup_secret_json struct json *doc = NULL;
	const struct provider_request rq = {
		.name = "Google's service for other accounts' tokens",
		.method = HTTP_POST,
		.url = url,
		.authorization = bearer,
		.form = "{\"lifetime\":\"3600s\",\"scope\":[\"" GOOGLE_SCOPE
			"\"]}",
		.content_type = "application/json",
		.try_ms = TRY_MS,
		.tries = TRIES,
	};
	const char *token, *ends;
	struct secret *s;
	int r = google_check_url(url, errp);

	if (r == 0)
		r = provider_ask_json(id->client, &rq, &doc, op, errp);
	if (r < 0)
		return r;
	token = json_str(json_get(doc, "accessToken"));
	ends = json_str(json_get(doc, "expireTime"));
	if (!token || !*token || strpbrk(token, "\r\n") || !ends ||
	    provider_time(ends) < 0)
		return error_set(errp, EPROTO, "%s: no token in its answer",
				 rq.name);
	s = secret_new();
	s->token = xstrdup(token);
	s->ends_s = provider_time(ends);
	s->origin = "impersonated account";
	*ret = s;
	return 1;
}

int google_external(struct google_identity *id, const struct json *doc,
		    struct secret **ret, const struct op *op,
		    struct error **errp)
{
	const char *other =
		json_str(json_get(doc, "service_account_impersonation_url"));
	cleanup_secret_ref struct secret *own = NULL;
	int r;

	if (!other)
		return exchange(id, doc, GOOGLE_SCOPE, ret, op, errp);
	r = exchange(id, doc, CLOUD_SCOPE, &own, op, errp);
	if (r < 0)
		return r;
	assert(own);
	return impersonate(id, other, own, ret, op, errp);
}
