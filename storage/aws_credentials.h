/*
 * Where AWS keys come from, in this order; the first that has any wins:
 *
 *   AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
 *   web identity: AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN
 *   the profile in the credentials file, then in the config file
 *   container: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or ..._FULL_URI
 *   the instance's metadata (IMDSv2), unless AWS_EC2_METADATA_DISABLED
 *
 * Variables and files are read anew each time.
 *
 * Threads: any.
 */
#ifndef STORAGE_AWS_CREDENTIALS_H
#define STORAGE_AWS_CREDENTIALS_H

#include "storage/http.h"
#include "storage/keeper.h"

struct aws_chain {
	struct http_client *client;   /* for the token service */
	struct http_client *metadata; /* with fixed addresses */
	char *region;                 /* of the token service */
};

/* A keeper_fetch; @ctx is a struct aws_chain. */
int aws_chain_fetch(void *ctx, struct secret **ret, const struct op *op,
		    struct error **errp);

/* aws_web_identity.c, aws_metadata.c: as a keeper_fetch. */
int aws_web_identity(struct aws_chain *c, const char *token_file,
		     const char *role, const char *session, struct secret **ret,
		     const struct op *op, struct error **errp);
int aws_container(struct aws_chain *c, struct secret **ret, const struct op *op,
		  struct error **errp);
int aws_instance(struct aws_chain *c, struct secret **ret, const struct op *op,
		 struct error **errp);

#endif
