/*
 * Where AWS keys come from, in this order; the first that has any wins:
 *
 *   AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
 *   web identity: AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN
 *   the profile in the credentials file, then in the config file: its keys,
 *     its role (by web identity, or with the keys of `source_profile` or
 *     `credential_source`), what its `credential_process` prints
 *   container: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or ..._FULL_URI
 *   the instance's metadata (IMDSv2), unless AWS_EC2_METADATA_DISABLED
 *
 * Variables and files are read anew each time.
 *
 * Threads: any.
 */
#ifndef STORAGE_AWS_CREDENTIALS_H
#define STORAGE_AWS_CREDENTIALS_H

#include <stdbool.h>

#include "base/json.h"
#include "storage/http.h"
#include "storage/keeper.h"

#define AWS_SOURCES_MAX 5 /* profiles in a row */

struct aws_chain {
	struct http_client *client;   /* for the token service */
	struct http_client *metadata; /* with fixed addresses */
	char *region;                 /* of the token service, like: */
	char *ca_file;                /* NULL: the client's */
};

/* A keeper_fetch; @ctx is a struct aws_chain. */
int aws_chain_fetch(void *ctx, struct secret **ret, const struct op *op,
		    struct error **errp);

/* @token NULL or "": none. @origin is static. */
struct secret *aws_keys(const char *id, const char *key, const char *token,
			int64_t ends_s, const char *origin);
/* 1 and the keys of a JSON answer, whose session token is called @token; or
 * -EPROTO. */
int aws_keys_of(const struct json *doc, const char *token, const char *origin,
		struct secret **ret, struct error **errp);

/* What is asked of the token service for a role. */
struct aws_role {
	const char *arn;
	const char *session;     /* NULL or "": "mops" */
	const char *external_id; /* NULL: none */
};

/* All that follows: as a keeper_fetch. */

/* aws_sts.c: with a token of somebody else's, or with other keys. */
int aws_web_identity(struct aws_chain *c, const char *token_file,
		     const struct aws_role *role, struct secret **ret,
		     const struct op *op, struct error **errp);
int aws_assume_role(struct aws_chain *c, const struct secret *with,
		    const struct aws_role *role, struct secret **ret,
		    const struct op *op, struct error **errp);

/* aws_process.c: @command is quoted as for a shell, which is not asked. */
int aws_process(const char *command, struct secret **ret, const struct op *op,
		struct error **errp);
/* Is that the command of the profile in use, or of one that it names as its
 * source? */
bool aws_process_is_configured(char *const *argv);

/* aws_metadata.c */
int aws_container(struct aws_chain *c, struct secret **ret, const struct op *op,
		  struct error **errp);
int aws_instance(struct aws_chain *c, struct secret **ret, const struct op *op,
		 struct error **errp);

#endif
