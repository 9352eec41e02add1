#include "engine/settings.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/strbuf.h"
#include "engine/units.h"
#include "tests/lib/tmpdir.h"

static char *home, *system_file;

static void clear_environment(void)
{
	const struct setting_info *info;

	for (size_t i = 0; (info = settings_info(i)); i++) {
		cleanup_free char *name = xasprintf("MOPS_%s", info->name);

		for (char *p = name; *p; p++)
			if (*p >= 'a' && *p <= 'z')
				*p = (char)(*p - 'a' + 'A');
		unsetenv(name);
	}
	unsetenv("XDG_CONFIG_HOME");
	unsetenv("XDG_DATA_HOME");
}

static void set_up(void)
{
	clear_environment();
	home = tmpdir_new();
	setenv("HOME", home, 1);
	system_file = xasprintf("%s/etc.yaml", home);
}

static void tear_down(void)
{
	tmpdir_remove(home);
	free(system_file);
}

TestSuite(settings, .init = set_up, .fini = tear_down);

static void write_text(const char *path, const char *text)
{
	cleanup_free char *dir = xstrdup(path);

	*strrchr(dir, '/') = '\0';
	cr_assert(eq(int, io_mkdirs(dir, 0755), 0));
	cr_assert(eq(int,
		     io_write_file_atomic(AT_FDCWD, path, text, strlen(text),
					  0644),
		     0));
}

static char *user_file(void)
{
	return xasprintf("%s/.config/mops/config.yaml", home);
}

static void write_user(const char *text)
{
	cleanup_free char *path = user_file();

	write_text(path, text);
}

static int load(const struct settings_flag *flags, size_t n,
		struct settings *ret, struct error **errp)
{
	return settings_load_from(system_file, flags, n, ret, errp);
}

Test(settings, has_defaults)
{
	cleanup_settings struct settings s = {0};
	cleanup_free char *registry =
		xasprintf("oci:%s/.local/share/mops/registry", home);
	cleanup_free char *cache = xasprintf("%s/.modelops", home);

	cr_assert(eq(int, load(NULL, 0, &s, NULL), 0));
	cr_expect(eq(str, s.registry, registry));
	cr_expect(eq(str, s.cache_dir, cache));
	cr_expect(eq(ptr, s.role, NULL));
	cr_expect(not(s.offline));
	cr_expect(eq(uint, s.concurrency, 8));
	cr_expect(eq(u64, s.limit_rate, 0));
	cr_expect(eq(i64, s.times.connect_ms, 10000));
	cr_expect(eq(i64, s.times.stall_ms, 20000));
	cr_expect(eq(i64, s.times.io_ms, 120000));
	cr_expect(eq(ptr, s.file_roots, NULL));
}

Test(settings, has_defaults_without_a_home)
{
	cleanup_settings struct settings s = {0};

	unsetenv("HOME");
	cr_assert(eq(int, load(NULL, 0, &s, NULL), 0));
	cr_expect(eq(str, s.registry, "oci:/var/lib/mops/registry"));
	cr_expect(eq(str, s.cache_dir, "/var/cache/mops"));
}

Test(settings, follows_xdg)
{
	cleanup_settings struct settings s = {0};
	cleanup_free char *dir = xasprintf("%s/x", home);
	cleanup_free char *file = xasprintf("%s/x/mops/config.yaml", home);

	write_user("role: wrong\n");
	write_text(file, "role: right\n");
	setenv("XDG_CONFIG_HOME", dir, 1);
	setenv("XDG_DATA_HOME", "/data", 1);
	cr_assert(eq(int, load(NULL, 0, &s, NULL), 0));
	cr_expect(eq(str, s.role, "right"));
	cr_expect(eq(str, s.registry, "oci:/data/mops/registry"));
}

/* Each source in turn, the strongest last. */
Test(settings, the_stronger_source_wins)
{
	static const struct settings_flag flag = {"io-timeout", "5s"};
	cleanup_free char *user = user_file();
	const char *from;

	for (int sources = 0; sources < 16; sources++) {
		cleanup_settings struct settings s = {0};
		cleanup_free char *text = NULL;
		int64_t want = 120000;
		const char *origin = "default";

		unlink(system_file);
		unlink(user);
		unsetenv("MOPS_IO_TIMEOUT");
		if (sources & 1) {
			write_text(system_file, "io_timeout: 2s\n");
			want = 2000;
			origin = system_file;
		}
		if (sources & 2) {
			write_user("io_timeout: 3s\n");
			want = 3000;
			origin = user;
		}
		if (sources & 4) {
			setenv("MOPS_IO_TIMEOUT", "4s", 1);
			want = 4000;
			origin = "MOPS_IO_TIMEOUT";
		}
		if (sources & 8) {
			want = 5000;
			origin = "flag";
		}
		cr_assert(eq(int, load(&flag, !!(sources & 8), &s, NULL), 0));
		cr_expect(eq(i64, s.times.io_ms, want));
		text = settings_value(&s, "io_timeout", &from);
		cr_expect(eq(str, (char *)from, (char *)origin));
		cr_expect(eq(i64, want / 1000, (int64_t)atoi(text)));
	}
}

Test(settings, takes_every_setting_from_a_file)
{
	cleanup_settings struct settings s = {0};
	cleanup_free char *under_home = xasprintf("%s/ca.pem", home);

	write_user("registry: host:5000/team\n"
		   "cache_dir: /c\n"
		   "role: training\n"
		   "offline: true\n"
		   "concurrency: 3\n"
		   "limit_rate: 10MB\n"
		   "plain_http: yes\n"
		   "anonymous: on\n"
		   "require_digest: 1\n"
		   "ca_file: ~/ca.pem\n"
		   "cert_file: \"/cert\"\n"
		   "key_file: '/key'\n"
		   "connect_timeout: 500ms\n"
		   "stall_timeout: 2m\n"
		   "io_timeout: hard\n"
		   "cache_max_size: 20GiB\n"
		   "cache_min_free: 500MB\n"
		   "cache_shared: group\n"
		   "cache_alternates: [/site]\n"
		   "file_roots: [/a, /b c]\n");
	cr_assert(eq(int, load(NULL, 0, &s, NULL), 0));
	cr_expect(s.cache_shared);
	cr_assert(eq(sz, strv_len(s.cache_alternates), 1));
	cr_expect(eq(str, s.cache_alternates[0], "/site"));
	cr_expect(eq(u64, s.cache_max_size, 20ull << 30));
	cr_expect(eq(u64, s.cache_min_free, 500000000));
	cr_expect(eq(str, s.registry, "host:5000/team"));
	cr_expect(eq(str, s.cache_dir, "/c"));
	cr_expect(eq(str, s.role, "training"));
	cr_expect(s.offline);
	cr_expect(eq(uint, s.concurrency, 3));
	cr_expect(eq(u64, s.limit_rate, 10000000));
	cr_expect(s.plain_http);
	cr_expect(s.anonymous);
	cr_expect(s.require_digest);
	cr_expect(eq(str, s.ca_file, under_home));
	cr_expect(eq(str, s.cert_file, "/cert"));
	cr_expect(eq(str, s.key_file, "/key"));
	cr_expect(eq(i64, s.times.connect_ms, 500));
	cr_expect(eq(i64, s.times.stall_ms, 120000));
	cr_expect(eq(i64, s.times.io_ms, INT64_MAX));
	cr_assert(eq(sz, strv_len(s.file_roots), 2));
	cr_expect(eq(str, s.file_roots[0], "/a"));
	cr_expect(eq(str, s.file_roots[1], "/b c"));
}

Test(settings, takes_a_list_from_the_environment)
{
	cleanup_settings struct settings s = {0};

	setenv("MOPS_FILE_ROOTS", "/x:/y", 1);
	cr_assert(eq(int, load(NULL, 0, &s, NULL), 0));
	cr_assert(eq(sz, strv_len(s.file_roots), 2));
	cr_expect(eq(str, s.file_roots[1], "/y"));
}

Test(settings, makes_relative_paths_of_the_edge_absolute)
{
	static const struct settings_flag flags[] = {{"cache-dir", "c"},
						     {"registry", "oci:r"}};
	cleanup_settings struct settings s = {0};
	cleanup_free char *cache = xasprintf("%s/c", home);
	cleanup_free char *registry = xasprintf("oci:%s/r", home);

	cr_assert(eq(int, chdir(home), 0));
	cr_assert(eq(int, load(flags, 2, &s, NULL), 0));
	cr_expect(eq(str, s.cache_dir, cache));
	cr_expect(eq(str, s.registry, registry));
}

Test(settings, an_empty_variable_is_not_set)
{
	cleanup_settings struct settings s = {0};

	setenv("MOPS_ROLE", "", 1);
	setenv("MOPS_OFFLINE", "", 1);
	cr_assert(eq(int, load(NULL, 0, &s, NULL), 0));
	cr_expect(eq(ptr, s.role, NULL));
}

Test(settings, a_flag_takes_a_switch_back)
{
	static const struct settings_flag flag = {"offline", "false"};
	cleanup_settings struct settings s = {0};

	setenv("MOPS_OFFLINE", "1", 1);
	cr_assert(eq(int, load(&flag, 1, &s, NULL), 0));
	cr_expect(not(s.offline));
}

Test(settings, files_may_be_absent_or_empty)
{
	cleanup_settings struct settings s = {0};

	write_user("");
	write_text(system_file, "# nothing\n---\n");
	cr_assert(eq(int, load(NULL, 0, &s, NULL), 0));
}

struct bad_value {
	const char *name, *text;
};

static const struct bad_value bad_values[] = {
	{"registry", "https://r.io"},
	{"registry", "r.io/UPPER"},
	{"registry", "oci:/a@b"},
	{"role", "Training"},
	{"role", "a/b"},
	{"offline", "maybe"},
	{"offline", "TRUE"},
	{"concurrency", "0"},
	{"concurrency", "257"},
	{"concurrency", "-1"},
	{"concurrency", "8MB"},
	{"concurrency", "x"},
	{"limit_rate", "-1"},
	{"limit_rate", "1.5MB"},
	{"limit_rate", "10 MB"},
	{"limit_rate", "fast"},
	{"limit_rate", "9223372036854775808"},
	{"connect_timeout", "0"},
	{"connect_timeout", "0s"},
	{"connect_timeout", "-1s"},
	{"connect_timeout", "hard"},
	{"connect_timeout", "10 s"},
	{"connect_timeout", "s"},
	{"stall_timeout", "hard"},
	{"stall_timeout", "10sec"},
	{"io_timeout", "soft"},
	{"io_timeout", "0"},
	{"io_timeout", "HARD"},
	{"io_timeout", "99999999h"},
	{"plain_http", "2"},
	{"anonymous", "y"},
	{"require_digest", "always"},
};

static void expect_refusal(const char *origin, const struct bad_value *bad,
			   const struct settings_flag *flag)
{
	cleanup_settings struct settings s = {0};
	cleanup_error struct error *err = NULL;
	int r = load(flag, flag ? 1 : 0, &s, &err);

	cr_expect(r == -EINVAL, "%s=%s gives %d", bad->name, bad->text, r);
	cr_assert(err != NULL);
	cr_expect(err->kind == ERROR_VALIDATION);
	cr_expect(strncmp(err->message, origin, strlen(origin)) == 0,
		  "'%s' does not begin with '%s'", err->message, origin);
	cr_expect(strchr(bad->text, '@') || strstr(err->message, bad->text),
		  "%s", err->message);
	cr_expect(eq(ptr, s.origins, NULL));
}

Test(settings, a_wrong_value_names_its_origin)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad_values); i++) {
		const struct bad_value *bad = &bad_values[i];
		struct settings_flag flag = {bad->name, bad->text};
		cleanup_free char *as_flag = xasprintf("--%s: ", bad->name);
		cleanup_free char *as_variable =
			xasprintf("MOPS_%s", bad->name);
		cleanup_free char *in_file =
			xasprintf("# one\n%s: '%s'\n", bad->name, bad->text);
		cleanup_free char *user = user_file();
		cleanup_free char *as_place =
			xasprintf("%s:2:%zu: %s: ", user, strlen(bad->name) + 3,
				  bad->name);

		for (char *p = as_variable; *p; p++)
			if (*p >= 'a' && *p <= 'z')
				*p = (char)(*p - 'a' + 'A');
		expect_refusal(as_flag, bad, &flag);
		setenv(as_variable, bad->text, 1);
		expect_refusal(as_variable, bad, NULL);
		unsetenv(as_variable);
		write_user(in_file);
		expect_refusal(as_place, bad, NULL);
		unlink(user);
	}
}

/* As a sanitizer would say, in which nothing is told of the heap here. */
Test(settings, an_empty_folder_leaves_nothing_behind)
{
	size_t before = 0;

	setenv("MOPS_FILE_ROOTS", "/a::/b", 1);
	for (int i = 0; i < 1100; i++) {
		cleanup_settings struct settings s = {0};

		cr_assert(eq(int, load(NULL, 0, &s, NULL), -EINVAL));
		if (i == 100)
			before = mallinfo2().uordblks;
	}
	cr_expect(mallinfo2().uordblks < before + 8192, "%zu bytes",
		  mallinfo2().uordblks - before);
}

struct bad_file {
	const char *text, *place;
};

static const struct bad_file bad_files[] = {
	{"no_such: 1\n", "1:1"},
	{"role: a\nrole: b\n", "2:1"},
	{"io-timeout: 1s\n", "1:1"},
	{"role:\n", "1:6"},
	{"role: [a]\n", "1:7"},
	{"role: {a: b}\n", "1:7"},
	{"- role\n", "1:1"},
	{"text\n", "1:1"},
	{"role: *x\n", "1:7"},
	{"role: &x a\n", "1:7"},
	{"role: !!str a\n", "1:7"},
	{"role: a\n---\nrole: b\n", "2:1"},
	{"role: 'a\n", "2:1"},
	{"\trole: a\n", "1:1"},
	{"file_roots: [a]\n", "1:13"},
	{"file_roots: []\n", "1:13"},
	{"file_roots: [/a, '']\n", "1:18"},
	{"file_roots: ['/a:/b']\n", "1:14"},
	{"file_roots: {a: b}\n", "1:13"},
	{"cache_dir: rel\n", "1:12"},
	{"cache_dir: ~user/x\n", "1:12"},
	{"ca_file: ca.pem\n", "1:10"},
	{"registry: oci:rel\n", "1:11"},
	{"role: \xff\n", "1:7"},
};

Test(settings, a_wrong_file_is_refused_with_line_and_column)
{
	cleanup_free char *user = user_file();

	for (size_t i = 0; i < ARRAY_SIZE(bad_files); i++) {
		cleanup_settings struct settings s = {0};
		cleanup_error struct error *err = NULL;
		cleanup_free char *place =
			xasprintf("%s:%s: ", user, bad_files[i].place);
		int r;

		write_user(bad_files[i].text);
		r = load(NULL, 0, &s, &err);
		cr_expect(r == -EINVAL, "%s", bad_files[i].text);
		cr_assert(err != NULL, "%s", bad_files[i].text);
		cr_expect(strncmp(err->message, place, strlen(place)) == 0,
			  "'%s' does not begin with '%s'", err->message, place);
	}
}

Test(settings, refuses_flags_that_are_no_settings)
{
	static const struct settings_flag flags[] = {
		{"no-such", "1"}, {"file-roots", "/a"}, {"role", ""}};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		cleanup_settings struct settings s = {0};

		cr_expect(load(&flags[i], 1, &s, NULL) == -EINVAL, "%s",
			  flags[i].name);
	}
}

Test(settings, says_every_value_and_its_origin)
{
	cleanup_settings struct settings s = {0};
	const struct setting_info *info;

	cr_assert(eq(int, load(NULL, 0, &s, NULL), 0));
	for (size_t i = 0; (info = settings_info(i)); i++) {
		const char *origin = NULL;
		cleanup_free char *v = settings_value(&s, info->name, &origin);

		cr_expect(v != NULL, "%s", info->name);
		cr_expect(eq(str, (char *)origin, "default"));
		cr_expect(info->help != NULL);
	}
	cr_expect(settings_value(&s, "no_such", NULL) == NULL);
}

Test(settings, an_unreadable_file_is_no_absent_one)
{
	cleanup_settings struct settings s = {0};
	cleanup_error struct error *err = NULL;

	cr_assert(eq(int, io_mkdirs(system_file, 0755), 0));
	cr_assert(lt(int, load(NULL, 0, &s, &err), 0));
	cr_expect(strstr(err->message, system_file) != NULL);
}

/* As a flag, as a variable and in a file. */
static void expect_quoted(const char *value, const char *quoted)
{
	struct settings_flag flag = {"io_timeout", value};
	cleanup_free char *user = user_file();
	cleanup_free char *in_file = xasprintf("io_timeout: '%s'\n", value);

	for (int i = 0; i < 3; i++) {
		cleanup_settings struct settings s = {0};
		cleanup_error struct error *err = NULL;

		if (i == 1)
			setenv("MOPS_IO_TIMEOUT", value, 1);
		if (i == 2)
			write_text(user, in_file);
		cr_assert(eq(int, load(&flag, i == 0, &s, &err), -EINVAL));
		cr_expect(strstr(err->message, quoted) != NULL, "%s",
			  err->message);
		unsetenv("MOPS_IO_TIMEOUT");
	}
	unlink(user);
}

Test(settings, an_error_quotes_no_more_than_64_characters)
{
	cleanup_strbuf struct strbuf v = STRBUF_INIT, q = STRBUF_INIT;

	strbuf_addc(&q, '\'');
	for (int i = 0; i < 64; i++) {
		strbuf_adds(&v, i & 1 ? "é" : "e");
		strbuf_adds(&q, i & 1 ? "é" : "e");
	}
	strbuf_adds(&q, "' ");
	expect_quoted(strbuf_str(&v), strbuf_str(&q));
	strbuf_truncate(&q, q.len - 2);
	strbuf_adds(&q, "…' ");
	for (int i = 0; i < 30000; i++)
		strbuf_adds(&v, "ö");
	expect_quoted(strbuf_str(&v), strbuf_str(&q));
}

Test(settings, an_error_quotes_no_password)
{
	expect_quoted("https://bob:hunter2@host.io/m", "'…@host.io/m' ");
}
