/*
 * The user's registry credentials: docker's config file
 * ($DOCKER_CONFIG/config.json, else ~/.docker/config.json), its `auths`.
 *
 * Secrets are wiped when released and never appear in a message.
 *
 * Threads: any.
 */
#ifndef STORAGE_CREDENTIALS_H
#define STORAGE_CREDENTIALS_H

#include "base/error.h"

struct credentials;

/* What a registry may be shown: any member may be NULL; user and secret go
 * together. */
struct login {
	char *user;
	char *secret;
	char *identity_token; /* gets access tokens from the token service */
	char *registry_token; /* an access token itself */
};
void login_release(struct login *l);
#define cleanup_login __attribute__((cleanup(login_release)))

/* Nothing is read before the first look-up. */
struct credentials *credentials_new(void);
/* 1 found, 0 none for this host, or -errno (a malformed file is -EINVAL). */
int credentials_get(struct credentials *c, const char *host, struct login *ret,
		    struct error **errp);
void credentials_free(struct credentials *c);

#endif
