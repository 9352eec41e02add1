/*
 * C: a configuration that is understood has whole logins; what it has for a
 * repository does not depend on the case of the host's name.
 * H: so has a helper's reply.
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_login struct login l = {0};
	const char *p = (const char *)data;

	if (size && *p == 'C')
		try_config(p + 1, size - 1);
	else if (size && *p == 'H' &&
		 credential_helper_parse(p + 1, size - 1, &l, NULL) == 1)
		check_login(&l);
	return 0;
}
