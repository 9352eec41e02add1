/*
 * The token service: temporary keys of a role. Either for a token of somebody
 * else's (a Kubernetes service account's): AssumeRoleWithWebIdentity; its file
 * is read each time, since it is replaced before its token ends. Or with other
 * keys: AssumeRole.
 */
#include <errno.h>
#include <string.h>

#include "base/secret.h"
#include "storage/aws_credentials.h"
#include "storage/object_http.h"
#include "storage/provider.h"
#include "storage/xml_text.h"

#define ROLE_MAX  2048
#define TRY_MS    10000
#define TRIES     3
#define FORM_TYPE "application/x-www-form-urlencoded"

static char *endpoint(const struct aws_chain *c)
{
	const char *said = provider_env("AWS_ENDPOINT_URL_STS");

	if (said)
		return xstrdup(said);
	return xasprintf("https://sts.%s.amazonaws.com%s/", c->region,
			 strncmp(c->region, "cn-", 3) == 0 ? ".cn" : "");
}

static int keys_of(const struct http_response *r, const char *origin,
		   struct secret **ret, struct error **errp)
{
	struct xml_span doc = {r->body, r->body_len}, in;
	char id[256], key[1024], ends[64];
	cleanup_free char *token = xmalloc(PROVIDER_ANSWER_MAX);
	bool good = xml_find(doc, "Credentials", &in, NULL) &&
		    xml_text(in, "AccessKeyId", id, sizeof(id)) &&
		    xml_text(in, "SecretAccessKey", key, sizeof(key)) &&
		    xml_text(in, "SessionToken", token, PROVIDER_ANSWER_MAX) &&
		    xml_text(in, "Expiration", ends, sizeof(ends)) &&
		    provider_time(ends) > 0;

	if (good)
		*ret = aws_keys(id, key, token, provider_time(ends), origin);
	explicit_bzero(key, sizeof(key));
	explicit_bzero(token, PROVIDER_ANSWER_MAX);
	return good ? 1
		    : error_set(errp, EPROTO,
				"the token service's answer holds no keys");
}

static int form_begin(struct strbuf *form, const char *action,
		      const struct aws_role *role, struct error **errp)
{
	if (strlen(role->arn) > ROLE_MAX)
		return error_set(errp, EINVAL, "the role's name is too long");
	provider_form_add(form, "Action", action);
	provider_form_add(form, "Version", "2011-06-15");
	provider_form_add(form, "RoleArn", role->arn);
	provider_form_add(form, "RoleSessionName",
			  role->session && *role->session ? role->session
							  : "mops");
	return 0;
}

/* @rq without what all have in common. */
static int ask(struct aws_chain *c, struct provider_request *rq,
	       const char *origin, struct secret **ret, const struct op *op,
	       struct error **errp)
{
	struct http_response answer = {.retry_after_ms = -1};
	int r;

	rq->name = "the AWS token service";
	rq->method = HTTP_POST;
	rq->ca_file = c->ca_file;
	rq->try_ms = TRY_MS;
	rq->tries = TRIES;
	r = provider_ask(c->client, rq, &answer, op, errp);
	if (r < 0)
		return r;
	r = keys_of(&answer, origin, ret, errp);
	provider_release(&answer);
	return r;
}

int aws_web_identity(struct aws_chain *c, const char *token_file,
		     const struct aws_role *role, struct secret **ret,
		     const struct op *op, struct error **errp)
{
	cleanup_secret_strbuf struct strbuf form = STRBUF_INIT;
	cleanup_secret char *token = NULL;
	cleanup_free char *url = endpoint(c);
	struct provider_request rq = {.url = url};
	int r = provider_read_file(token_file, &token, errp);

	if (r == 0)
		r = form_begin(&form, "AssumeRoleWithWebIdentity", role, errp);
	if (r < 0)
		return r;
	provider_form_add(&form, "WebIdentityToken", token);
	rq.form = strbuf_str(&form);
	return ask(c, &rq, "web identity", ret, op, errp);
}

/* The value of Authorization for @form. */
static char *sign(const struct aws_chain *c, const struct secret *with,
		  const struct http_url *url, const char *form,
		  const char *date, int64_t now_s)
{
	struct digest d = digest_of_str(form);
	struct digest_hex payload = digest_to_hex(&d);
	cleanup_free char *host = object_host_field(url);
	const struct sign_pair headers[] = {
		{"content-type", FORM_TYPE},
		{"host", host},
		{"x-amz-date", date},
		{"x-amz-security-token", with->token},
	};
	const struct sign_request rq = {
		.method = "POST",
		.path = url->path,
		.headers = headers,
		.n_headers = with->token ? 4 : 3,
		.payload = payload.str,
	};
	const struct sign_scope scope = {
		.dialect = &SIGN_AWS4,
		.id = with->id,
		.secret = with->key,
		.time = now_s,
		.region = c->region,
		.service = "sts",
	};

	return aws_sign_header(&rq, &scope);
}

int aws_assume_role(struct aws_chain *c, const struct secret *with,
		    const struct aws_role *role, struct secret **ret,
		    const struct op *op, struct error **errp)
{
	cleanup_secret_strbuf struct strbuf form = STRBUF_INIT;
	cleanup_http_url struct http_url at = {0};
	cleanup_secret char *authorization = NULL;
	cleanup_secret char *token = NULL;
	cleanup_free char *url = endpoint(c);
	cleanup_free char *date = NULL;
	const char *headers[3] = {NULL};
	struct provider_request rq = {
		.url = url,
		.headers = headers,
		.content_type = FORM_TYPE,
	};
	int64_t now_s = time_wall_s();
	int r = http_url_parse(url, &at, errp);

	if (r == 0)
		r = form_begin(&form, "AssumeRole", role, errp);
	if (r < 0)
		return r;
	if (role->external_id)
		provider_form_add(&form, "ExternalId", role->external_id);
	rq.form = strbuf_str(&form);
	authorization =
		sign(c, with, &at, rq.form, aws_sign_time(now_s).str, now_s);
	rq.authorization = authorization;
	date = xasprintf("x-amz-date: %s", aws_sign_time(now_s).str);
	headers[0] = date;
	if (with->token) {
		token = xasprintf("x-amz-security-token: %s", with->token);
		headers[1] = token;
	}
	return ask(c, &rq, "assumed role", ret, op, errp);
}
