/*
 * The files of the AWS tools: ~/.aws/config and ~/.aws/credentials, or where
 * AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE say, and the profile that
 * AWS_PROFILE or AWS_DEFAULT_PROFILE chooses.
 *
 * Threads: a value belongs to one thread.
 */
#ifndef STORAGE_AWS_CONFIG_H
#define STORAGE_AWS_CONFIG_H

#include "storage/ini.h"

struct aws_config {
	struct ini *config, *credentials; /* NULL: no such file */
	char *profile; /* heap; may be replaced by another one's name */
};

/* -EINVAL: a file is malformed, or the chosen profile is in none of them. */
int aws_config_load(struct aws_config *c, struct error **errp);
/* -EINVAL unless c->profile is in one of the files. */
int aws_config_check(const struct aws_config *c, struct error **errp);
void aws_config_release(struct aws_config *c);
#define cleanup_aws_config __attribute__((cleanup(aws_config_release)))

/* A value of the profile in the config file; @sub as in ini_get(). */
const char *aws_config_get(const struct aws_config *c, const char *key,
			   const char *sub);
/* The same in the credentials file. */
const char *aws_config_secret(const struct aws_config *c, const char *key);
/* "endpoint_url" of service @name: of the profile's `services` section, else
 * of the profile. NULL: none. */
const char *aws_config_endpoint(const struct aws_config *c, const char *name);

#endif
