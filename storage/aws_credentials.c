#include "storage/aws_credentials.h"

#include <errno.h>
#include <string.h>

#include "storage/aws_config.h"
#include "storage/provider.h"

struct secret *aws_keys(const char *id, const char *key, const char *token,
			int64_t ends_s, const char *origin)
{
	struct secret *s = secret_new();

	s->id = xstrdup(id);
	s->key = xstrdup(key);
	s->token = token && *token ? xstrdup(token) : NULL;
	s->ends_s = ends_s;
	s->origin = origin;
	return s;
}

int aws_keys_of(const struct json *doc, const char *token, const char *origin,
		struct secret **ret, struct error **errp)
{
	const char *id = json_str(json_get(doc, "AccessKeyId"));
	const char *key = json_str(json_get(doc, "SecretAccessKey"));
	const char *ends = json_str(json_get(doc, "Expiration"));
	int64_t ends_s = ends ? provider_time(ends) : SECRET_NEVER_ENDS;

	if (!id || !key || !*id || !*key || ends_s < 0)
		return error_set(errp, EPROTO, "the %s gave no keys", origin);
	*ret = aws_keys(id, key, json_str(json_get(doc, token)), ends_s,
			origin);
	return 1;
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
	*ret = aws_keys(id, key, provider_env("AWS_SESSION_TOKEN"),
			SECRET_NEVER_ENDS, "environment");
	return 1;
}

/* Ways of a profile that other tools know and this one does not. */
static int check_known(const struct aws_config *c, const char *const *others,
		       struct error **errp)
{
	for (; *others; others++) {
		if (!aws_config_get(c, *others, NULL))
			continue;
		error_set(errp, EACCES,
			  "profile '%s' gets its keys by '%s', which is not "
			  "supported",
			  c->profile, *others);
		return error_hint(errp, -EACCES,
				  "try: eval \"$(aws configure "
				  "export-credentials --format env)\"");
	}
	return 0;
}

/* Keys that stand in the files. */
static struct secret *written(const struct aws_config *c)
{
	const char *id = aws_config_secret(c, "aws_access_key_id");
	const char *key = aws_config_secret(c, "aws_secret_access_key");
	const char *token = aws_config_secret(c, "aws_session_token");

	if (!id || !key) {
		id = aws_config_get(c, "aws_access_key_id", NULL);
		key = aws_config_get(c, "aws_secret_access_key", NULL);
		token = aws_config_get(c, "aws_session_token", NULL);
	}
	return id && key && *id && *key
		       ? aws_keys(id, key, token, SECRET_NEVER_ENDS, "profile")
		       : NULL;
}

static int of_profile(struct aws_chain *chain, struct aws_config *c,
		      unsigned depth, struct secret **ret, const struct op *op,
		      struct error **errp);

/* The keys of another profile, or of this one where it names itself. */
static int of_source(struct aws_chain *chain, struct aws_config *c,
		     const char *name, unsigned depth, struct secret **ret,
		     const struct op *op, struct error **errp)
{
	cleanup_free char *own = NULL;
	int r;

	if (strcmp(name, c->profile) == 0) {
		*ret = written(c);
		return *ret != NULL;
	}
	if (depth == AWS_SOURCES_MAX)
		return error_set(errp, EACCES,
				 "over %d profiles that take their keys from "
				 "each other",
				 AWS_SOURCES_MAX);
	own = c->profile;
	c->profile = xstrdup(name);
	r = aws_config_check(c, errp);
	if (r == 0)
		r = of_profile(chain, c, depth + 1, ret, op, errp);
	free(c->profile);
	c->profile = steal_ptr(&own);
	return r;
}

static int of_place(struct aws_chain *chain, const char *place,
		    struct secret **ret, const struct op *op,
		    struct error **errp)
{
	if (strcmp(place, "Environment") == 0)
		return from_environment(ret, errp);
	if (strcmp(place, "EcsContainer") == 0)
		return aws_container(chain, ret, op, errp);
	if (strcmp(place, "Ec2InstanceMetadata") == 0)
		return aws_instance(chain, ret, op, errp);
	return error_set(errp, EACCES, "credential_source '%s' is not known",
			 place);
}

/* A role that is taken on with the keys of somebody else. */
static int assumed(struct aws_chain *chain, struct aws_config *c,
		   unsigned depth, struct secret **ret, const struct op *op,
		   struct error **errp)
{
	static const char *const people[] = {"mfa_serial", NULL};
	const struct aws_role role = {
		.arn = aws_config_get(c, "role_arn", NULL),
		.session = aws_config_get(c, "role_session_name", NULL),
		.external_id = aws_config_get(c, "external_id", NULL),
	};
	const char *source = aws_config_get(c, "source_profile", NULL);
	const char *place = aws_config_get(c, "credential_source", NULL);
	cleanup_secret_ref struct secret *with = NULL;
	int r = check_known(c, people, errp);

	if (r < 0)
		return r;
	if (!source == !place)
		return error_set(errp, EACCES,
				 "profile '%s' has a role and not one of "
				 "source_profile and credential_source",
				 c->profile);
	r = source ? of_source(chain, c, source, depth, &with, op, errp)
		   : of_place(chain, place, &with, op, errp);
	if (r == 0)
		return error_set(errp, EACCES,
				 "there are no keys to take on the role of "
				 "profile '%s' with",
				 c->profile);
	return r < 0 ? r : aws_assume_role(chain, with, &role, ret, op, errp);
}

static int of_profile(struct aws_chain *chain, struct aws_config *c,
		      unsigned depth, struct secret **ret, const struct op *op,
		      struct error **errp)
{
	const struct aws_role role = {
		.arn = aws_config_get(c, "role_arn", NULL),
		.session = aws_config_get(c, "role_session_name", NULL),
	};
	const char *file = aws_config_get(c, "web_identity_token_file", NULL);
	const char *command = aws_config_secret(c, "credential_process");
	static const char *const logins[] = {"sso_session", "sso_start_url",
					     "login_session", NULL};

	if (file && role.arn)
		return aws_web_identity(chain, file, &role, ret, op, errp);
	if (role.arn)
		return assumed(chain, c, depth, ret, op, errp);
	*ret = written(c);
	if (*ret)
		return 1;
	if (!command)
		command = aws_config_get(c, "credential_process", NULL);
	if (command)
		return aws_process(command, ret, op, errp);
	return check_known(c, logins, errp);
}

static int from_profile(struct aws_chain *chain, struct secret **ret,
			const struct op *op, struct error **errp)
{
	cleanup_aws_config struct aws_config c = {0};
	int r = aws_config_load(&c, errp);

	return r < 0 ? r : of_profile(chain, &c, 1, ret, op, errp);
}

int aws_chain_fetch(void *ctx, struct secret **ret, const struct op *op,
		    struct error **errp)
{
	const char *file = provider_env("AWS_WEB_IDENTITY_TOKEN_FILE");
	const struct aws_role role = {
		.arn = provider_env("AWS_ROLE_ARN"),
		.session = provider_env("AWS_ROLE_SESSION_NAME"),
	};
	struct aws_chain *c = ctx;
	int r = from_environment(ret, errp);

	if (r == 0 && file && role.arn)
		r = aws_web_identity(c, file, &role, ret, op, errp);
	if (r == 0)
		r = from_profile(c, ret, op, errp);
	if (r == 0)
		r = aws_container(c, ret, op, errp);
	if (r == 0)
		r = aws_instance(c, ret, op, errp);
	return error_prefix(errp, r, "AWS credentials");
}
