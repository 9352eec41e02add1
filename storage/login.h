/*
 * What a registry may be shown. Secrets are wiped when released and never
 * appear in a message.
 */
#ifndef STORAGE_LOGIN_H
#define STORAGE_LOGIN_H

/* Any member may be NULL; user and secret go together. */
struct login {
	char *user;
	char *secret;
	char *identity_token; /* gets access tokens from the token service */
	char *registry_token; /* an access token itself */
};
void login_release(struct login *l);
#define cleanup_login __attribute__((cleanup(login_release)))

#endif
