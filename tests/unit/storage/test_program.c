#include <errno.h>
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

/* Out of time; where it got SIGTERM there is a file "cleaned". */
static void expect_ended(const char *script, bool cleaned)
{
	cleanup_free char *text = xasprintf("#!/bin/sh\n%s\n", script);
	cleanup_free char *path = put("slow", text, 0700);
	cleanup_free char *began = xasprintf("%s/began", dir);
	cleanup_free char *mark = xasprintf("%s/cleaned", dir);
	char *argv[] = {path, dir, NULL};
	struct op op = {.deadline_ns = time_deadline_ms(300)};
	char *said = NULL;
	int status;

	setenv("PATH", "/usr/bin:/bin", 1);
	cr_expect(eq(int, program_run(argv, "", &said, &status, &op, NULL),
		     -ETIMEDOUT));
	cr_expect(eq(int, access(began, F_OK), 0));
	cr_expect(eq(int, access(mark, F_OK), cleaned ? 0 : -1));
}

Test(program, one_that_takes_too_long_may_clean_up)
{
	expect_ended("trap 'sleep 0.1; touch $1/cleaned; exit' TERM\n"
		     "touch $1/began\nsleep 60 & wait",
		     true);
}

Test(program, one_that_does_not_end_is_killed)
{
	expect_ended("trap '' TERM\ntouch $1/began\n"
		     "while :; do sleep 1; done",
		     false);
}
