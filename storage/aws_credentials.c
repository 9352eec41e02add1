#include "storage/aws_credentials.h"

#include <errno.h>

#include "storage/aws_config.h"
#include "storage/provider.h"

static struct secret *keys(const char *id, const char *key, const char *token,
			   const char *origin)
{
	struct secret *s = secret_new();

	s->id = xstrdup(id);
	s->key = xstrdup(key);
	s->token = token && *token ? xstrdup(token) : NULL;
	s->origin = origin;
	return s;
}

static int from_environment(struct secret **ret, struct error **errp)
{
	const char *id = provider_env("AWS_ACCESS_KEY_ID");
	const char *key = provider_env("AWS_SECRET_ACCESS_KEY");

	if (!id && !key)
		return 0;
	if (!id || !key)
		return error_set(errp, EACCES,
				 "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: "
				 "only one of them is set");
	*ret = keys(id, key, provider_env("AWS_SESSION_TOKEN"), "environment");
	return 1;
}

/* Ways of a profile that other tools know and this one does not. */
static int check_known(const struct aws_config *c, struct error **errp)
{
	static const char *const others[] = {
		"source_profile", "credential_source",  "sso_session",
		"sso_start_url",  "credential_process", "login_session",
	};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		if (!aws_config_get(c, others[i], NULL))
			continue;
		error_set(errp, EACCES,
			  "profile '%s' gets its keys by '%s', which is not "
			  "supported",
			  c->profile, others[i]);
		return error_hint(errp, -EACCES,
				  "try: eval \"$(aws configure "
				  "export-credentials --format env)\"");
	}
	return 0;
}

static int from_profile(struct aws_chain *chain, struct secret **ret,
			const struct op *op, struct error **errp)
{
	cleanup_aws_config struct aws_config c = {0};
	const char *id, *key, *token, *file, *role;
	int r = aws_config_load(&c, errp);

	if (r < 0)
		return r;
	id = aws_config_secret(&c, "aws_access_key_id");
	key = aws_config_secret(&c, "aws_secret_access_key");
	token = aws_config_secret(&c, "aws_session_token");
	if (!id || !key) {
		id = aws_config_get(&c, "aws_access_key_id", NULL);
		key = aws_config_get(&c, "aws_secret_access_key", NULL);
		token = aws_config_get(&c, "aws_session_token", NULL);
	}
	file = aws_config_get(&c, "web_identity_token_file", NULL);
	role = aws_config_get(&c, "role_arn", NULL);
	if (file && role)
		return aws_web_identity(chain, file, role,
					aws_config_get(&c, "role_session_name",
						       NULL),
					ret, op, errp);
	if (id && key && *id && *key && !role) {
		*ret = keys(id, key, token, "profile");
		return 1;
	}
	return check_known(&c, errp);
}

int aws_chain_fetch(void *ctx, struct secret **ret, const struct op *op,
		    struct error **errp)
{
	const char *file = provider_env("AWS_WEB_IDENTITY_TOKEN_FILE");
	const char *role = provider_env("AWS_ROLE_ARN");
	struct aws_chain *c = ctx;
	int r = from_environment(ret, errp);

	if (r == 0 && file && role)
		r = aws_web_identity(c, file, role,
				     provider_env("AWS_ROLE_SESSION_NAME"), ret,
				     op, errp);
	if (r == 0)
		r = from_profile(c, ret, op, errp);
	if (r == 0)
		r = aws_container(c, ret, op, errp);
	if (r == 0)
		r = aws_instance(c, ret, op, errp);
	return error_prefix(errp, r, "AWS credentials");
}
