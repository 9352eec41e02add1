#include "storage/credentials.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/io.h"
#include "tests/lib/tmpdir.h"

/* base64 of "alice:won:der" */
#define ALICE "YWxpY2U6d29uOmRlcg=="

static char *folder;

static void set_up(void)
{
	folder = tmpdir_new();
	setenv("DOCKER_CONFIG", folder, 1);
}

static void tear_down(void)
{
	tmpdir_remove(folder);
}

TestSuite(credentials, .init = set_up, .fini = tear_down);

static void write_config(const char *text)
{
	cleanup_free char *path = xasprintf("%s/config.json", folder);

	cr_assert(eq(int,
		     io_write_file_atomic(AT_FDCWD, path, text, strlen(text),
					  0600),
		     0));
}

static int look_up(const char *host, struct login *ret)
{
	struct credentials *c = credentials_new();
	int r = credentials_get(c, host, ret, NULL);

	credentials_free(c);
	return r;
}

static void expect_alice(const char *key, const char *host)
{
	cleanup_free char *text = xasprintf(
		"{\"auths\":{\"other\":{\"auth\":\"eDp5\"},\"%s\":{\"auth\":"
		"\"" ALICE "\"}}}",
		key);
	cleanup_login struct login l = {0};

	write_config(text);
	cr_expect(eq(int, look_up(host, &l), 1), "%s", key);
	cr_expect(eq(str, l.user ? l.user : "", "alice"));
	cr_expect(eq(str, l.secret ? l.secret : "", "won:der"));
}

Test(credentials, know_a_host_under_every_form_of_its_key)
{
	expect_alice("r.example", "r.example");
	expect_alice("r.example:5000", "r.example:5000");
	expect_alice("https://r.example", "r.example");
	expect_alice("http://r.example/", "r.example");
	expect_alice("https://r.example/v1/", "r.example");
	expect_alice("https://r.example:5000/v2/", "r.example:5000");
	expect_alice("R.Example", "r.example");
	expect_alice("[::1]:5000", "[::1]:5000");
}

static void expect_none(const char *text, const char *host)
{
	cleanup_login struct login l = {0};

	write_config(text);
	cr_expect(eq(int, look_up(host, &l), 0), "%s", text);
	cr_expect(eq(ptr, l.user, NULL));
}

Test(credentials, are_for_exactly_that_host)
{
	expect_none("{\"auths\":{\"r.example\":{\"auth\":\"" ALICE "\"}}}",
		    "example");
	expect_none("{\"auths\":{\"r.example\":{\"auth\":\"" ALICE "\"}}}",
		    "r.example.evil");
	expect_none("{\"auths\":{\"r.example\":{\"auth\":\"" ALICE "\"}}}",
		    "r.example:5000");
	expect_none("{\"auths\":{\"r.example:5000\":{\"auth\":\"" ALICE "\"}}}",
		    "r.example");
	expect_none("{\"auths\":{\"evil/r.example\":{\"auth\":\"" ALICE "\"}}}",
		    "r.example");
}

Test(credentials, are_none_where_the_file_has_none)
{
	expect_none("{}", "h");
	expect_none("{\"auths\":{}}", "h");
	expect_none("{\"auths\":null}", "h");
	expect_none("{\"auths\":{\"h\":{}}}", "h");
	expect_none("{\"auths\":{\"h\":{\"auth\":\"\"}}}", "h");
	expect_none("{\"credsStore\":\"x\"}", "h");
}

Test(credentials, are_none_without_a_file_or_a_home)
{
	cleanup_login struct login l = {0};

	cr_expect(eq(int, look_up("h", &l), 0));
	setenv("DOCKER_CONFIG", "/nonexistent/x", 1);
	cr_expect(eq(int, look_up("h", &l), 0));
	unsetenv("DOCKER_CONFIG");
	unsetenv("HOME");
	cr_expect(eq(int, look_up("h", &l), 0));
}

Test(credentials, may_be_spelled_out)
{
	cleanup_login struct login l = {0};

	write_config("{\"auths\":{\"h\":{\"username\":\"bob\","
		     "\"password\":\"b:\"}}}");
	cr_expect(eq(int, look_up("h", &l), 1));
	cr_expect(eq(str, l.user, "bob"));
	cr_expect(eq(str, l.secret, "b:"));
}

Test(credentials, may_be_tokens)
{
	cleanup_login struct login identity = {0}, ready = {0};

	/* docker writes a user that means nothing beside the token */
	write_config("{\"auths\":{\"h\":{\"auth\":\"PHRva2VuPjo=\","
		     "\"identitytoken\":\"x\"},"
		     "\"g\":{\"registrytoken\":\"y\"}}}");
	cr_expect(eq(int, look_up("h", &identity), 1));
	cr_expect(eq(str, identity.identity_token, "x"));
	cr_expect(eq(ptr, identity.user, NULL));
	cr_expect(eq(int, look_up("g", &ready), 1));
	cr_expect(eq(str, ready.registry_token, "y"));
}

Test(credentials, an_exact_key_wins_over_a_url)
{
	cleanup_login struct login l = {0};

	write_config("{\"auths\":{\"https://h/v1/\":{\"auth\":\"eDp5\"},"
		     "\"h\":{\"auth\":\"" ALICE "\"}}}");
	cr_expect(eq(int, look_up("h", &l), 1));
	cr_expect(eq(str, l.user, "alice"));
}

Test(credentials, refuse_a_malformed_file)
{
	static const char *const bad[] = {
		"",
		"{",
		"{\"auths\":{\"h\":{\"auth\":\"###\"}}}",
		"{\"auths\":{\"h\":{\"auth\":\"YWxpY2U=\"}}}", /* no colon */
		"{\"auths\":{\"h\":{\"auth\":\"AAA6eA==\"}}}", /* a NUL */
		"{\"auths\":{\"h\":{},\"h\":{}}}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cleanup_login struct login l = {0};

		write_config(bad[i]);
		cr_expect(eq(int, look_up("h", &l), -EINVAL), "%s", bad[i]);
	}
}

Test(credentials, never_appear_in_a_message)
{
	struct credentials *c = credentials_new();
	cleanup_error struct error *err = NULL;
	cleanup_login struct login l = {0};

	write_config("{\"auths\":{\"h\":{\"auth\":\"c2VjcmV0Y2FuYXJ5\"}}}");
	cr_expect(eq(int, credentials_get(c, "h", &l, &err), -EINVAL));
	cr_expect(eq(ptr, strstr(err->message, "canary"), NULL));
	cr_expect(eq(ptr, strstr(err->message, "c2Vj"), NULL));
	credentials_free(c);
}

Test(credentials, are_read_anew_each_time)
{
	struct credentials *c = credentials_new();
	cleanup_login struct login l = {0};

	cr_expect(eq(int, credentials_get(c, "h", &l, NULL), 0));
	write_config("{\"auths\":{\"h\":{\"auth\":\"" ALICE "\"}}}");
	cr_expect(eq(int, credentials_get(c, "h", &l, NULL), 1));
	credentials_free(c);
}
