/*
 * The format of docker's config.json and of containers' auth.json: logins
 * (`auths`), a helper program per registry (`credHelpers`) or for all
 * (`credsStore`).
 *
 * Keys are hosts, with a port where there is one; URLs, of which only the host
 * counts; or hosts with the beginning of a repository's name
 * ("host/team/project"), of which the longest counts. The names of Docker Hub
 * are one.
 *
 * Threads: any.
 */
#ifndef STORAGE_DOCKER_CONFIG_H
#define STORAGE_DOCKER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "storage/login.h"

#define DOCKER_CONFIG_MAX (1u << 20)

/* What a file has for a repository. The helper, if any, comes first. */
struct docker_config_match {
	char *helper; /* NULL, or its suffix; not checked */
	bool has_login;
	struct login login;
};
void docker_config_match_release(struct docker_config_match *m);
#define cleanup_docker_config_match \
	__attribute__((cleanup(docker_config_match_release)))

/* @repo NULL: of the registry as a whole. -EINVAL when malformed. */
int docker_config_find(const char *text, size_t n, const char *host,
		       const char *repo, struct docker_config_match *ret,
		       struct error **errp);

/* Is it one of Docker Hub's names? */
bool docker_config_is_hub(const char *host);

/* How helpers and files name @host: itself, or Docker Hub's URL of old. */
const char *docker_config_server(const char *host);

/* Is @key, of `auths` or `credHelpers`, one of @host as a whole? */
bool docker_config_is_key_of(const char *key, const char *host);

struct docker_config_edit {
	const char *host;
	bool remove; /* its entries, else one is written: */
	/* User and secret; NULL: nothing, a helper has them. */
	const struct login *login;
};

/* The text of a file (of none: 0 bytes) after the edit, heap: wipe it.
 * *@ret_had: there was an entry of the host. Entries of repositories
 * ("host/team") stay. -EINVAL when malformed. */
int docker_config_edit(const char *text, size_t n,
		       const struct docker_config_edit *e, char **ret,
		       bool *ret_had, struct error **errp);

#endif
