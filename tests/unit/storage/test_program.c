#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/alloc.h"
#include "storage/program.h"
#include "tests/lib/tmpdir.h"

static char *dir;

static char *put(const char *name, const char *text, mode_t mode)
{
	char *path = xasprintf("%s/%s", dir, name);
	FILE *f = fopen(path, "we");

	cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
	cr_assert(eq(int, chmod(path, mode), 0));
	return path;
}

static void set_up(void)
{
	static const char config[] =
		"[profile a]\nsource_profile = b\n"
		"[profile b]\ncredential_process = keys 'for me'\n"
		"[profile c]\ncredential_process = keys other\n";
	cleanup_free char *file = NULL;

	dir = tmpdir_new();
	file = put("config", config, 0600);
	free(put("docker-credential-x", "", 0700));
	free(put("keys", "", 0700));
	free(put("evil", "", 0700));
	setenv("PATH", dir, 1);
	setenv("AWS_CONFIG_FILE", file, 1);
	setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere", 1);
	setenv("AWS_PROFILE", "a", 1);
}

static void tear_down(void)
{
	tmpdir_remove(dir);
}

TestSuite(program, .init = set_up, .fini = tear_down);

static bool configured(const char *folder, const char *name, const char *arg,
		       const char *more)
{
	cleanup_free char *path = xasprintf("%s/%s", folder, name);
	char *argv[] = {path, (char *)arg, (char *)more, NULL};

	return program_is_configured(argv);
}

Test(program, helpers_of_the_path_are_asked_for_logins)
{
	cr_expect(configured(dir, "docker-credential-x", "get", NULL));
	cr_expect(not(configured(dir, "docker-credential-x", "erase", NULL)));
	cr_expect(not(configured(dir, "docker-credential-x", "get", "more")));
	cr_expect(not(configured(dir, "docker-credential-x", NULL, NULL)));
	cr_expect(not(configured(dir, "docker-credential-y", "get", NULL)));
	cr_expect(not(configured("/tmp", "docker-credential-x", "get", NULL)));
	cr_expect(not(configured(dir, "evil", "get", NULL)));
}

Test(program, the_profile_in_use_says_what_prints_its_keys)
{
	cr_expect(configured(dir, "keys", "for me", NULL));
	cr_expect(not(configured(dir, "keys", "for", "me")));
	cr_expect(not(configured(dir, "keys", NULL, NULL)));
	cr_expect(not(configured(dir, "keys", "other", NULL)));
	cr_expect(not(configured(dir, "evil", "for me", NULL)));
	setenv("AWS_PROFILE", "c", 1);
	cr_expect(configured(dir, "keys", "other", NULL));
	cr_expect(not(configured(dir, "keys", "for me", NULL)));
}
