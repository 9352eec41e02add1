#include "storage/credentials.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/time.h"
#include "tests/lib/tmpdir.h"

/* base64 of "alice:won:der" */
#define ALICE "YWxpY2U6d29uOmRlcg=="

static char *folder;

static void set_up(void)
{
	folder = tmpdir_new();
	setenv("DOCKER_CONFIG", folder, 1);
	setenv("XDG_RUNTIME_DIR", "/nonexistent", 1);
	setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
	unsetenv("REGISTRY_AUTH_FILE");
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

static int look_up_repo(const char *host, const char *repo, struct login *ret)
{
	struct credentials *c = credentials_new();
	int r = credentials_get(c, host, repo, ret, NULL, NULL);

	credentials_free(c);
	return r;
}

/* Where the login for host "h" is from; "" for none. Heap. */
static char *source(void)
{
	struct credentials *c = credentials_new();
	char *s = NULL;
	int r = credentials_source(c, "h", NULL, &s, NULL, NULL);

	credentials_free(c);
	cr_expect(eq(int, r, s ? 1 : 0));
	return s ? s : xstrdup("");
}

static int look_up(const char *host, struct login *ret)
{
	return look_up_repo(host, "some/repo", ret);
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
	expect_none("{\"credsStore\":\"\"}", "h");
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
	cr_expect(eq(int, credentials_get(c, "h", NULL, &l, NULL, &err),
		     -EINVAL));
	cr_expect(eq(ptr, strstr(err->message, "canary"), NULL));
	cr_expect(eq(ptr, strstr(err->message, "c2Vj"), NULL));
	credentials_free(c);
}

Test(credentials, are_read_anew_each_time)
{
	struct credentials *c = credentials_new();
	cleanup_login struct login l = {0};

	cr_expect(eq(int, credentials_get(c, "h", NULL, &l, NULL, NULL), 0));
	write_config("{\"auths\":{\"h\":{\"auth\":\"" ALICE "\"}}}");
	cr_expect(eq(int, credentials_get(c, "h", NULL, &l, NULL, NULL), 1));
	credentials_free(c);
}

Test(credentials, know_docker_hub_by_its_names)
{
	expect_alice("https://index.docker.io/v1/", "docker.io");
	expect_alice("docker.io", "registry-1.docker.io");
	expect_none("{\"auths\":{\"docker.io.evil\":{\"auth\":\"" ALICE "\"}}}",
		    "docker.io");
}

static void expect_user(const char *repo, const char *user)
{
	cleanup_login struct login l = {0};

	cr_expect(eq(int, look_up_repo("h:1", repo, &l), *user != '\0'));
	cr_expect(eq(str, l.user ? l.user : "", user), "%s", repo ? repo : "-");
}

Test(credentials, may_be_for_a_part_of_a_registry)
{
	write_config("{\"auths\":{"
		     "\"h:1/team\":{\"username\":\"t\",\"password\":\"x\"},"
		     "\"h:1\":{\"username\":\"h\",\"password\":\"x\"},"
		     "\"h:1/team/a/\":{\"username\":\"a\",\"password\":\"x\"},"
		     "\"h:1/team/b\":{}}}");
	expect_user("other", "h");
	expect_user("team", "t");
	expect_user("team/x", "t");
	expect_user("team/a", "a");
	expect_user("team/a/deep", "a");
	expect_user("team/ab", "t");
	expect_user("team/b", "t");
	expect_user("teamwork", "h");
	expect_user(NULL, "h");
	write_config("{\"auths\":{\"h:1/team\":{\"username\":\"t\","
		     "\"password\":\"x\"}}}");
	expect_user("other", "");
	expect_user(NULL, "");
}

/* A file whose only user for host "h" is @user. */
static void write_user(const char *path, const char *user)
{
	cleanup_free char *at = xasprintf("%s/%s", folder, path);
	cleanup_free char *text =
		xasprintf("{\"auths\":{\"h\":{\"username\":\"%s\",\"password\":"
			  "\"x\"}}}",
			  user);

	cr_assert(
		eq(int,
		   io_write_file_atomic(AT_FDCWD, at, text, strlen(text), 0600),
		   0));
}

static void expect_first(const char *user)
{
	cleanup_login struct login l = {0};

	cr_expect(eq(int, look_up("h", &l), 1));
	cr_expect(eq(str, l.user ? l.user : "", user));
}

static void set_below(const char *name, const char *path)
{
	cleanup_free char *at = xasprintf("%s%s", folder, path);

	setenv(name, at, 1);
}

Test(credentials, come_from_the_first_file_that_has_some)
{
	cleanup_free char *dir = xasprintf("%s/x/containers", folder);

	cr_assert(eq(int, io_mkdirs(dir, 0700), 0));
	set_below("XDG_CONFIG_HOME", "/x");
	write_user("x/containers/auth.json", "config");
	expect_first("config");
	set_below("XDG_RUNTIME_DIR", "/x");
	unsetenv("XDG_CONFIG_HOME");
	write_user("x/containers/auth.json", "runtime");
	expect_first("runtime");
	write_config("{\"auths\":{\"h\":{}}}");
	expect_first("runtime");
	write_user("config.json", "docker");
	expect_first("docker");
	write_user("mine.json", "mine");
	set_below("REGISTRY_AUTH_FILE", "/mine.json");
	expect_first("mine");
}

/*
 * Helpers.
 */

static void write_helper(const char *name, const char *script)
{
	cleanup_free char *path =
		xasprintf("%s/docker-credential-%s", folder, name);
	cleanup_free char *text = xasprintf("#!/bin/sh\n%s\n", script);

	cr_assert(eq(int,
		     io_write_file_atomic(AT_FDCWD, path, text, strlen(text),
					  0700),
		     0));
	cleanup_free char *env = xasprintf("%s:/usr/bin:/bin", folder);

	setenv("PATH", env, 1);
}

/* The user whom the helper @script names for host "h", and the code. */
static void expect_helper(const char *script, int code, const char *user)
{
	cleanup_login struct login l = {0};

	write_helper("mine", script);
	write_config("{\"credHelpers\":{\"h\":\"mine\"},"
		     "\"credsStore\":\"nobody\"}");
	cr_expect(eq(int, look_up("h", &l), code), "%s", script);
	cr_expect(eq(str, l.user ? l.user : "", user), "%s", script);
}

Test(credentials, may_be_kept_by_a_helper)
{
	expect_helper("read s; [ \"$s $1 $PWD\" = 'h get /' ] && echo "
		      "'{\"Username\":\"u\",\"Secret\":\"s\"}'",
		      1, "u");
	expect_helper("echo credentials not found in native keychain; exit 1",
		      0, "");
}

Test(credentials, of_a_helper_may_be_a_token)
{
	cleanup_login struct login l = {0};

	write_helper("all", "cat >/dev/null; echo '{\"ServerURL\":\"h\","
			    "\"Username\":\"<token>\",\"Secret\":\"s\"}'");
	write_config("{\"credsStore\":\"all\"}");
	cr_expect(eq(int, look_up("h", &l), 1));
	cr_expect(eq(str, l.identity_token, "s"));
	cr_expect(eq(ptr, l.user, NULL));
}

Test(credentials, of_the_file_do_where_the_helper_has_none)
{
	cleanup_login struct login l = {0};

	write_helper("all",
		     "echo credentials not found in native keychain; exit 1");
	write_config(
		"{\"credsStore\":\"all\",\"auths\":{\"h\":{\"auth\":\"" ALICE
		"\"}}}");
	cr_expect(eq(int, look_up("h", &l), 1));
	cr_expect(eq(str, l.user, "alice"));
}

Test(credentials, of_a_helper_that_fails_are_an_error)
{
	expect_helper("echo no such luck; exit 1", -EIO, "");
	expect_helper("kill -9 $$", -EIO, "");
	expect_helper("echo '{}'", -EINVAL, "");
	expect_helper("echo 'hello'", -EINVAL, "");
	expect_helper("echo '{\"Username\":\"u\",\"Secret\":\"\"}'", -EINVAL,
		      "");
	expect_helper("yes", -EINVAL, "");
	expect_helper("exec <&-; sleep 0.1; echo '{\"Username\":\"u\","
		      "\"Secret\":\"s\"}'",
		      1, "u");
}

Test(credentials, of_a_helper_that_hangs_are_given_up)
{
	struct op op = {.deadline_ns = time_deadline_ms(200)};
	struct credentials *c = credentials_new();
	cleanup_login struct login l = {0};
	int64_t began = time_mono_ns();

	write_helper("slow", "sleep 60");
	write_config("{\"credsStore\":\"slow\"}");
	cr_expect(eq(int, credentials_get(c, "h", NULL, &l, &op, NULL),
		     -ETIMEDOUT));
	cr_expect(time_mono_ns() - began < 5 * NS_PER_S);
	credentials_free(c);
}

Test(credentials, need_a_helper_with_a_plain_name)
{
	static const char *const bad[] = {"../x", "-x",   ".x",
					  "a/b",  "a b",  "a;b",
					  "$x",   "a\\n", "\xc3\xa4"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cleanup_free char *text =
			xasprintf("{\"credsStore\":\"%s\"}", bad[i]);
		cleanup_login struct login l = {0};

		write_config(text);
		cr_expect(eq(int, look_up("h", &l), -EINVAL), "%s", bad[i]);
	}
	write_config("{\"credsStore\":\"not-installed-anywhere\"}");
	cleanup_login struct login l = {0};

	cr_expect(eq(int, look_up("h", &l), -EIO));
}

Test(credentials, give_a_helper_no_descriptor_of_ours)
{
	cleanup_login struct login l = {0};
	int fd = open("/dev/null", O_RDONLY);

	cr_assert(eq(int, dup2(fd, 200), 200)); /* not O_CLOEXEC */
	write_helper("all", "[ ! -e /proc/$$/fd/200 ] && echo "
			    "'{\"Username\":\"u\",\"Secret\":\"s\"}'");
	write_config("{\"credsStore\":\"all\"}");
	cr_expect(eq(int, look_up("h", &l), 1));
	close(200);
	close(fd);
}

Test(credentials, name_the_file_that_a_login_is_from)
{
	cleanup_free char *want = xasprintf("'%s/config.json'", folder);
	cleanup_free char *none = source();
	cleanup_free char *got = NULL;

	cr_expect(eq(str, none, ""));
	write_config("{\"auths\":{\"h\":{\"auth\":\"" ALICE "\"}}}");
	got = source();
	cr_expect(eq(str, got, want));
}

Test(credentials, name_the_helper_that_a_login_is_from)
{
	cleanup_free char *want = xasprintf(
		"helper 'docker-credential-mine' of '%s/config.json'", folder);
	cleanup_free char *got = NULL;

	write_config("{\"credHelpers\":{\"h\":\"mine\"}}");
	write_helper("mine", "cat >/dev/null; echo '{\"ServerURL\":\"h\","
			     "\"Username\":\"u\",\"Secret\":\"s\"}'");
	got = source();
	cr_expect(eq(str, got, want));
}

Test(credentials, name_the_helper_and_not_the_file_that_it_comes_before)
{
	cleanup_free char *by_helper = NULL, *by_file = NULL;

	write_config("{\"credsStore\":\"mine\",\"auths\":{\"h\":{\"auth\":"
		     "\"" ALICE "\"}}}");
	write_helper("mine", "cat >/dev/null; echo '{\"ServerURL\":\"h\","
			     "\"Username\":\"u\",\"Secret\":\"s\"}'");
	by_helper = source();
	cr_expect(strstr(by_helper, "'docker-credential-mine'") != NULL, "%s",
		  by_helper);
	write_helper("mine",
		     "echo credentials not found in native keychain; exit 1");
	by_file = source();
	cr_expect(eq(ptr, strstr(by_file, "helper"), NULL), "%s", by_file);
	cr_expect(strstr(by_file, "config.json'") != NULL, "%s", by_file);
}

/*
 * Keeping them.
 */

static char *read_config(void)
{
	cleanup_free char *path = xasprintf("%s/config.json", folder);
	struct stat st;
	char *text = NULL;
	size_t n;

	cr_assert(eq(int, stat(path, &st), 0));
	cr_expect(eq(int, (int)(st.st_mode & 07777), 0600));
	cr_assert(eq(int, io_read_file(AT_FDCWD, path, 1 << 20, &text, &n), 0));
	return text;
}

static int store_as(const char *host, char *user, char *secret)
{
	const struct login l = {.user = user, .secret = secret};
	cleanup_login_place struct login_place p = {0};

	return credentials_store(host, &l, &p, NULL, NULL);
}

static int forget(const char *host)
{
	cleanup_login_place struct login_place p = {0};

	return credentials_forget(host, &p, NULL, NULL);
}

static void expect_login(const char *host, const char *user, const char *secret)
{
	cleanup_login struct login l = {0};

	cr_assert(eq(int, look_up(host, &l), 1), "%s", host);
	cr_expect(eq(str, l.user, user));
	cr_expect(eq(str, l.secret, secret));
}

Test(credentials, are_kept_in_a_new_file)
{
	cleanup_free char *sub = xasprintf("%s/new/deep", folder);
	cleanup_free char *old = steal_ptr(&folder);
	cleanup_free char *text = NULL;

	setenv("DOCKER_CONFIG", sub, 1);
	folder = sub;
	cr_assert(eq(int, store_as("h:5000", "bob", "p:\"\xff"), 0));
	text = read_config();
	cr_expect(eq(str, text,
		     "{\n\t\"auths\": {\n\t\t\"h:5000\": {\n\t\t\t\"auth\": "
		     "\"Ym9iOnA6Iv8=\"\n\t\t}\n\t}\n}\n"));
	expect_login("h:5000", "bob", "p:\"\xff");
	folder = steal_ptr(&old);
}

Test(credentials, kept_leave_everything_else_as_it_was)
{
	cleanup_free char *text = NULL, *want = NULL;

	write_config("{\"psFormat\":\"{{.ID}}\\t\\\"x\\\"\",\"n\":1.50,"
		     "\"auths\":{\"https://h/v1/\":{\"auth\":\"eDp5\"},"
		     "\"h/team\":{\"auth\":\"eDp5\"},\"g\":{}},"
		     "\"list\":[1,[],{\"b\":null,\"a\":true}]}");
	cr_assert(eq(int, store_as("h", "bob", "x"), 0));
	text = read_config();
	want = xstrdup("{\n\t\"auths\": {\n\t\t\"g\": {},\n\t\t\"h\": {\n"
		       "\t\t\t\"auth\": \"Ym9iOng=\"\n\t\t},\n\t\t\"h/team\": "
		       "{\n\t\t\t\"auth\": \"eDp5\"\n\t\t}\n\t},\n\t\"list\": "
		       "[\n\t\t1,\n\t\t[],\n\t\t{\n\t\t\t\"a\": true,\n\t\t\t"
		       "\"b\": null\n\t\t}\n\t],\n\t\"n\": 1.50,\n\t"
		       "\"psFormat\": \"{{.ID}}\\t\\\"x\\\"\"\n}\n");
	cr_expect(eq(str, text, want));
	cr_expect(eq(int, forget("h"), 1));
	cr_expect(eq(int, forget("h"), 0), "it is gone");
	free(steal_ptr(&text));
	text = read_config();
	cr_expect(strstr(text, "\"h\"") == NULL);
	cr_expect(strstr(text, "\"h/team\"") && strstr(text, "psFormat"));
}

Test(credentials, of_docker_hub_are_kept_under_its_old_name)
{
	cleanup_free char *text = NULL;

	cr_assert(eq(int, store_as("docker.io", "bob", "x"), 0));
	text = read_config();
	cr_expect(strstr(text, "\"https://index.docker.io/v1/\": {") != NULL);
	expect_login("registry-1.docker.io", "bob", "x");
	cr_expect(eq(int, forget("index.docker.io"), 1));
}

Test(credentials, are_kept_where_a_link_leads)
{
	cleanup_free char *path = xasprintf("%s/config.json", folder);
	cleanup_free char *real = xasprintf("%s/real", folder);
	struct stat st;

	write_config("{}");
	cr_assert(eq(int, rename(path, real), 0));
	cr_assert(eq(int, symlink("real", path), 0));
	cr_assert(eq(int, store_as("h", "bob", "x"), 0));
	cr_assert(eq(int, lstat(path, &st), 0));
	cr_expect(eq(int, S_ISLNK(st.st_mode) ? 1 : 0, 1));
	expect_login("h", "bob", "x");
}

Test(credentials, are_not_written_into_what_is_no_configuration)
{
	static const char *const bad[] = {
		"[]",
		"{",
		"\"x\"",
		"{\"auths\":[]}",
		"{\"auths\":\"x\"}",
		"{\"a\":1,\"a\":2}",
		"{\"credsStore\":\"../x\"}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cleanup_free char *path = xasprintf("%s/config.json", folder);
		cleanup_free char *text = NULL;
		size_t n;

		write_config(bad[i]);
		cr_expect(lt(int, store_as("h", "bob", "x"), 0), "%s", bad[i]);
		cr_assert(eq(int, io_read_file(AT_FDCWD, path, 100, &text, &n),
			     0));
		cr_expect(eq(str, text, bad[i]));
	}
}

Test(credentials, are_kept_and_forgotten_by_a_helper)
{
	cleanup_free char *kept = xasprintf("%s/kept", folder);
	cleanup_free char *script = xasprintf(
		"[ $1 = store ] && cat > %s && exit 0; [ $1 = erase ] && "
		"[ \"$(cat)\" = h ] && rm %s && exit 0; exit 1",
		kept, kept);
	cleanup_free char *text = NULL, *got = NULL;
	size_t n;

	write_helper("keeper", script);
	write_config("{\"auths\":{\"h\":{\"auth\":\"" ALICE
		     "\"}},\"credHelpers\":{\"h\":\"keeper\"}}");
	cr_assert(eq(int, store_as("h", "bob", "\"x\\"), 0));
	cr_assert(eq(int, io_read_file(AT_FDCWD, kept, 1000, &got, &n), 0));
	cr_expect(eq(str, got,
		     "{\"Secret\":\"\\\"x\\\\\",\"ServerURL\":\"h\","
		     "\"Username\":\"bob\"}"));
	text = read_config();
	cr_expect(strstr(text, "\"h\": {}") != NULL, "%s", text);
	cr_expect(strstr(text, ALICE) == NULL, "no old login stays");
	cr_expect(eq(int, store_as("h", "b\xff", "x"), -EINVAL));
	cr_expect(eq(int, forget("h"), 1));
	cr_expect(eq(int, access(kept, F_OK), -1));
	cr_expect(eq(int, forget("h"), -EIO), "the helper fails");
}

static void link_config(const char *target)
{
	cleanup_free char *path = xasprintf("%s/config.json", folder);

	unlink(path);
	cr_assert(eq(int, symlink(target, path), 0));
}

static void expect_link_leads_to_a_login(void)
{
	cleanup_free char *path = xasprintf("%s/config.json", folder);
	struct stat st;

	cr_assert(eq(int, store_as("h", "bob", "x"), 0));
	cr_assert(eq(int, lstat(path, &st), 0));
	cr_expect(st.st_mode >> 12 == S_IFLNK >> 12, "the link stays");
	expect_login("h", "bob", "x");
}

Test(credentials, make_what_a_link_leads_to)
{
	cleanup_free char *away = xasprintf("%s/away/file", folder);
	cleanup_free char *second = xasprintf("%s/second", folder);

	link_config("beside"); /* there is nothing yet */
	expect_link_leads_to_a_login();
	expect_link_leads_to_a_login();
	link_config(away);
	expect_link_leads_to_a_login();
	cr_assert(eq(int, symlink("third", second), 0));
	link_config("second");
	expect_link_leads_to_a_login();
	link_config("config.json");
	cr_expect(lt(int, store_as("h", "bob", "x"), 0), "it leads nowhere");
}
