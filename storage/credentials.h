/*
 * The user's registry credentials, where docker and podman keep them. The first
 * file that has something for a repository counts:
 *
 *   $REGISTRY_AUTH_FILE
 *   $DOCKER_CONFIG/config.json, else ~/.docker/config.json
 *   $XDG_RUNTIME_DIR/containers/auth.json, else /run/containers/UID/auth.json
 *   $XDG_CONFIG_HOME/containers/auth.json, else ~/.config/containers/auth.json
 *
 * Files are read and helpers are run for each look-up: a login made meanwhile
 * counts, and no secret stays in memory between two of them.
 *
 * Threads: any that may wait.
 */
#ifndef STORAGE_CREDENTIALS_H
#define STORAGE_CREDENTIALS_H

#include "base/error.h"
#include "base/op.h"
#include "storage/login.h"

struct credentials;

/* The environment is looked at here, the files not before a look-up. */
struct credentials *credentials_new(void);
/* One login, whatever is asked for; @login outlives it. */
struct credentials *credentials_of(const struct login *login);
/* For repository @repo (NULL: none) of @host. 1 found, 0 there is nothing, or
 * -errno: a malformed file is -EINVAL. */
int credentials_get(const struct credentials *c, const char *host,
		    const char *repo, struct login *ret, const struct op *op,
		    struct error **errp);
/* The same look-up, for who asks where a login is from: *@ret is words for
 * people, heap, and no part of what was found. */
int credentials_source(const struct credentials *c, const char *host,
		       const char *repo, char **ret, const struct op *op,
		       struct error **errp);
void credentials_free(struct credentials *c);

/*
 * Keep a login in the first of the files that has a name: $REGISTRY_AUTH_FILE,
 * or docker's; with the helper that this names, if it does. Whoever reads the
 * file meanwhile finds it whole, old or new. It is its owner's alone, or stays
 * as it is when that is another than who runs this.
 */
struct login_place {
	char *file;
	char *helper; /* NULL: none, the login itself is in the file */
};
/* Its name. Heap; NULL: there is no HOME. */
char *credentials_file(void);
void login_place_release(struct login_place *p);
#define cleanup_login_place __attribute__((cleanup(login_place_release)))
/* @login has user and secret. */
int credentials_store(const char *host, const struct login *login,
		      struct login_place *ret, const struct op *op,
		      struct error **errp);
/* 1: forgotten, 0: there was none. */
int credentials_forget(const char *host, struct login_place *ret,
		       const struct op *op, struct error **errp);

#endif
