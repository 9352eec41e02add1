/*
 * A token of somebody else's (a Kubernetes service account's) for temporary
 * keys: AssumeRoleWithWebIdentity. The file is read each time: it is replaced
 * before its token ends.
 */
#include <errno.h>
#include <string.h>

#include "base/secret.h"
#include "storage/aws_credentials.h"
#include "storage/provider.h"
#include "storage/xml_text.h"

#define ROLE_MAX 2048
#define TRY_MS   10000
#define TRIES    3

static char *endpoint(const struct aws_chain *c)
{
	const char *said = provider_env("AWS_ENDPOINT_URL_STS");

	if (said)
		return xstrdup(said);
	return xasprintf("https://sts.%s.amazonaws.com%s/", c->region,
			 strncmp(c->region, "cn-", 3) == 0 ? ".cn" : "");
}

static int keys_of(const struct http_response *r, struct secret **ret,
		   struct error **errp)
{
	struct xml_span doc = {r->body, r->body_len}, in;
	char id[256], key[1024], ends[64];
	cleanup_free char *token = xmalloc(PROVIDER_ANSWER_MAX);
	struct secret *s;
	bool good = xml_find(doc, "Credentials", &in, NULL) &&
		    xml_text(in, "AccessKeyId", id, sizeof(id)) &&
		    xml_text(in, "SecretAccessKey", key, sizeof(key)) &&
		    xml_text(in, "SessionToken", token, PROVIDER_ANSWER_MAX) &&
		    xml_text(in, "Expiration", ends, sizeof(ends)) &&
		    provider_time(ends) > 0;

	if (good) {
		s = secret_new();
		s->id = xstrdup(id);
		s->key = xstrdup(key);
		s->token = xstrdup(token);
		s->ends_s = provider_time(ends);
		s->origin = "web identity";
		*ret = s;
	}
	explicit_bzero(key, sizeof(key));
	explicit_bzero(token, PROVIDER_ANSWER_MAX);
	return good ? 1
		    : error_set(errp, EPROTO,
				"the token service's answer holds no keys");
}

int aws_web_identity(struct aws_chain *c, const char *token_file,
		     const char *role, const char *session, struct secret **ret,
		     const struct op *op, struct error **errp)
{
	cleanup_secret_strbuf struct strbuf form = STRBUF_INIT;
	cleanup_secret char *token = NULL;
	cleanup_free char *url = endpoint(c);
	struct http_response answer = {.retry_after_ms = -1};
	struct provider_request rq = {
		.name = "the AWS token service",
		.method = HTTP_POST,
		.url = url,
		.try_ms = TRY_MS,
		.tries = TRIES,
	};
	int r = provider_read_file(token_file, &token, errp);

	if (r < 0)
		return r;
	if (strlen(role) > ROLE_MAX)
		return error_set(errp, EINVAL, "the role's name is too long");
	provider_form_add(&form, "Action", "AssumeRoleWithWebIdentity");
	provider_form_add(&form, "Version", "2011-06-15");
	provider_form_add(&form, "RoleArn", role);
	provider_form_add(&form, "RoleSessionName",
			  session && *session ? session : "mops");
	provider_form_add(&form, "WebIdentityToken", token);
	rq.form = strbuf_str(&form);
	r = provider_ask(c->client, &rq, &answer, op, errp);
	if (r < 0)
		return r;
	r = keys_of(&answer, ret, errp);
	provider_release(&answer);
	return r;
}
