/*
 * C: a configuration that is understood has whole logins; what it has for a
 * repository does not depend on the case of the host's name.
 * H: so has a helper's reply.
 * E: a login that is put into any configuration is found there, and is not when
 * it is taken out again.
 */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "storage/credential_helper.h"
#include "storage/docker_config.h"
#include "tests/fuzz/fuzz.h"

static void check_login(const struct login *l)
{
	assert(!l->user == !l->secret);
	assert(l->user || l->identity_token || l->registry_token);
}

static bool same(const char *a, const char *b)
{
	return !a == !b && (!a || strcmp(a, b) == 0);
}

static void try_config(const char *p, size_t n)
{
	cleanup_docker_config_match struct docker_config_match a = {0}, b = {0};
	cleanup_docker_config_match struct docker_config_match hub = {0};
	int r = docker_config_find(p, n, "h.example", "team/a/b", &a, NULL);

	assert(r ==
	       docker_config_find(p, n, "H.Example", "team/a/b", &b, NULL));
	docker_config_find(p, n, "docker.io", NULL, &hub, NULL);
	if (hub.has_login)
		check_login(&hub.login);
	if (r < 0)
		return;
	assert(a.has_login == b.has_login && same(a.helper, b.helper) &&
	       same(a.login.user, b.login.user));
	if (a.has_login)
		check_login(&a.login);
}

static void try_edit(const char *p, size_t n)
{
	const struct login bob = {.user = (char *)"bob",
				  .secret = (char *)"p:\x01"};
	struct docker_config_edit e = {.host = "h.example", .login = &bob};
	cleanup_docker_config_match struct docker_config_match a = {0}, b = {0};
	cleanup_free char *with = NULL, *without = NULL;
	bool had = false;

	if (docker_config_edit(p, n, &e, &with, &had, NULL) < 0)
		return;
	assert(docker_config_find(with, strlen(with), "h.example", NULL, &a,
				  NULL) == 0);
	assert(a.has_login && same(a.login.user, "bob") &&
	       same(a.login.secret, "p:\x01"));
	e = (struct docker_config_edit){.host = "h.example", .remove = true};
	assert(docker_config_edit(with, strlen(with), &e, &without, &had,
				  NULL) == 0);
	assert(had);
	assert(docker_config_find(without, strlen(without), "h.example", NULL,
				  &b, NULL) == 0);
	assert(!b.has_login && same(a.helper, b.helper));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_login struct login l = {0};
	const char *p = (const char *)data;

	if (size && *p == 'C')
		try_config(p + 1, size - 1);
	else if (size && *p == 'E')
		try_edit(p + 1, size - 1);
	else if (size && *p == 'H' &&
		 credential_helper_parse(p + 1, size - 1, &l, NULL) == 1)
		check_login(&l);
	return 0;
}
