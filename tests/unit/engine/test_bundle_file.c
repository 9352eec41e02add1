#include "engine/bundle_file.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/strbuf.h"
#include "base/time.h"
#include "engine/yaml_events.h"
#include "tests/lib/tmpdir.h"

static int parse(const char *text, struct bundle_file *ret, struct error **errp)
{
	return bundle_file_parse(text, strlen(text), "f", ret, errp);
}

Test(bundle_file, reads_all_there_is)
{
	cleanup_bundle_file struct bundle_file b = {0};
	cleanup_error struct error *err = NULL;
	int r = parse("bundle:\n"
		      "  name: epi-sir\n"
		      "  version: 1.10\n"
		      "  layers:\n"
		      "    - name: code\n"
		      "      paths: [\"src/**/*.py\", \"*.toml\"]\n"
		      "      ignore: [\"**/__pycache__/**\"]\n"
		      "    - name: data\n"
		      "      paths: [\"data/**\"]\n"
		      "  roles:\n"
		      "    training: [data, code]\n"
		      "    default: [code]\n"
		      "external_storage:\n"
		      "  - pattern: \"data/fit/**\"\n"
		      "    storage: \"s3://epi-data/bundles/\"\n"
		      "    tier: cool\n"
		      "  - min_size: 100MB\n"
		      "    storage: gs://epi-data\n",
		      &b, &err);

	cr_assert(r == 0, "%s", err ? err->message : "");
	cr_expect(eq(str, b.file, "f"));
	cr_expect(eq(str, b.name, "epi-sir"));
	cr_expect(eq(str, b.version, "1.10"), "text, not a number");
	cr_assert(eq(sz, b.n_layers, 2));
	cr_expect(eq(str, b.layers[0].name, "code"));
	cr_expect(eq(sz, strv_len(b.layers[0].paths), 2));
	cr_expect(eq(str, b.layers[0].paths[1], "*.toml"));
	cr_expect(eq(str, b.layers[0].ignore[0], "**/__pycache__/**"));
	cr_expect(eq(uint, b.layers[0].line, 5));
	cr_expect(eq(uint, b.layers[0].col, 7));
	cr_expect(eq(ptr, b.layers[1].ignore, NULL));
	cr_assert(eq(sz, b.n_roles, 2));
	cr_expect(eq(str, b.roles[0].name, "default"), "sorted");
	cr_expect(eq(str, b.roles[1].name, "training"));
	cr_expect(eq(str, b.roles[1].layers[0], "code"), "in layer order");
	cr_expect(eq(str, b.roles[1].layers[1], "data"));
	cr_assert(eq(sz, b.n_externals, 2));
	cr_expect(eq(str, b.externals[0].pattern, "data/fit/**"));
	cr_expect(eq(u64, b.externals[0].min_size, 0));
	cr_expect(eq(str, b.externals[0].storage, "s3://epi-data/bundles/"));
	cr_expect(eq(int, b.externals[0].tier, TREE_TIER_COOL));
	cr_expect(eq(ptr, b.externals[1].pattern, NULL));
	cr_expect(eq(u64, b.externals[1].min_size, 100000000));
	cr_expect(eq(str, b.externals[1].storage, "gs://epi-data/"));
	cr_expect(eq(int, b.externals[1].tier, TREE_TIER_NONE));
}

static void expect_default_layer(const struct bundle_file *b)
{
	cr_assert(eq(sz, b->n_layers, 1));
	cr_expect(eq(str, b->layers[0].name, "data"));
	cr_expect(eq(str, b->layers[0].paths[0], "**"));
	cr_expect(eq(uint, b->layers[0].line, 0));
	cr_assert(eq(sz, b->n_roles, 1));
	cr_expect(eq(str, b->roles[0].name, "default"));
	cr_assert(eq(sz, strv_len(b->roles[0].layers), 1));
	cr_expect(eq(str, b->roles[0].layers[0], "data"));
}

Test(bundle_file, without_layers_has_one_with_everything)
{
	cleanup_bundle_file struct bundle_file b = {0};

	cr_assert(eq(int, parse("bundle: {name: a}\n", &b, NULL), 0));
	expect_default_layer(&b);
}

Test(bundle_file, without_roles_default_has_all_layers)
{
	cleanup_bundle_file struct bundle_file b = {0};

	cr_assert(eq(int,
		     parse("bundle: {layers: [{name: z, paths: [z]},"
			   " {name: a, paths: [a]}]}\n",
			   &b, NULL),
		     0));
	cr_assert(eq(sz, b.n_roles, 1));
	cr_expect(eq(str, b.roles[0].layers[0], "z"));
	cr_expect(eq(str, b.roles[0].layers[1], "a"));
}

Test(bundle_file, roles_may_name_the_layer_that_is_there_by_default)
{
	cleanup_bundle_file struct bundle_file b = {0};

	cr_assert(eq(int, parse("bundle: {roles: {all: [data]}}\n", &b, NULL),
		     0));
	cr_expect(eq(str, b.roles[0].name, "all"));
}

Test(bundle_file, makes_globs_nfc)
{
	cleanup_bundle_file struct bundle_file b = {0};

	cr_assert(eq(int,
		     parse("bundle: {layers: [{name: a, "
			   "paths: [\"caf\x65\xcc\x81\"]}]}\n",
			   &b, NULL),
		     0));
	cr_expect(eq(str, b.layers[0].paths[0], "caf\xc3\xa9"));
}

Test(bundle_file, normalises_storage)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"s3://bucket", "s3://bucket/"},
		{"s3://bucket/", "s3://bucket/"},
		{"s3://bucket/a//", "s3://bucket/a/"},
		{"s3://bucket/a b", "s3://bucket/a%20b/"},
		{"s3://bucket/a%7eb", "s3://bucket/a~b/"},
		{"az://account/container", "az://account/container/"},
		{"gs://bucket/x/y", "gs://bucket/x/y/"},
		{"file:///data/ext", "file:///data/ext/"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_bundle_file struct bundle_file b = {0};
		cleanup_error struct error *err = NULL;
		cleanup_free char *text = xasprintf(
			"external_storage: [{min_size: 1, storage: \"%s\"}]\n",
			cases[i].text);

		cr_assert(parse(text, &b, &err) == 0, "%s",
			  err ? err->message : "");
		cr_expect(
			eq(str, b.externals[0].storage, (char *)cases[i].want));
	}
}

struct hostile {
	const char *text, *place;
};

#define LAYER "bundle: {layers: [{name: a, paths: [a]}]"

static const struct hostile hostile[] = {
	/* nothing */
	{"", "1:1"},
	{"# a comment\n", "1:1"},
	{"---\n", "2:1"},
	{"~\n", "1:1"},
	{"{}\n", "1:1"},
	{"[]\n", "1:1"},
	{"text\n", "1:1"},
	{"- a\n", "1:1"},
	{"bundle:\n", "1:8"},
	{"bundle: ~\n", "1:9"},
	{"bundle: {}\n", "1:9"},
	{"bundle: text\n", "1:9"},
	{"bundle: []\n", "1:9"},
	{"external_storage:\n", "1:18"},
	{"external_storage: []\n", "1:19"},
	{"external_storage: {}\n", "1:19"},
	/* unknown */
	{"bundel: {name: a}\n", "1:1"},
	{"bundle: {nmae: a}\n", "1:10"},
	{"bundle: {name: a}\nx: 1\n", "2:1"},
	{"bundle: {layers: [{name: a, path: [a]}]}\n", "1:29"},
	{"external_storage: [{storage: s3://bbb, sise: 1}]\n", "1:40"},
	{"? [a]\n: b\n", "1:3"},
	{"? {a: b}\n: c\n", "1:3"},
	/* twice */
	{"bundle: {name: a, name: a}\n", "1:19"},
	{"bundle: {name: a}\nbundle: {name: b}\n", "2:1"},
	{"bundle: {name: a, \"name\": b}\n", "1:19"},
	{"bundle: {layers: [{name: a, paths: [a]}, {name: a, paths: [b]}]}\n",
	 "1:49"},
	{LAYER ", roles: {x: [a, a]}}\n", "1:58"},
	{LAYER ", roles: {x: [a], x: [a]}}\n", "1:59"},
	/* name and version */
	{"bundle: {name: ''}\n", "1:16"},
	{"bundle: {name: }\n", "1:16"},
	{"bundle: {name: [a]}\n", "1:16"},
	{"bundle: {name: A}\n", "1:16"},
	{"bundle: {name: a.b}\n", "1:16"},
	{"bundle: {name: oci}\n", "1:16"},
	{"bundle: {name: a/}\n", "1:16"},
	{"bundle: {name: host.io/a}\n", "1:16"},
	{"bundle: {name: \"a\\0b\"}\n", "1:16"},
	{"bundle: {version: -1}\n", "1:19"},
	{"bundle: {version: 1+2}\n", "1:19"},
	{"bundle: {version: {a: b}}\n", "1:19"},
	/* layers */
	{"bundle: {layers: }\n", "1:18"},
	{"bundle: {layers: []}\n", "1:18"},
	{"bundle: {layers: {a: b}}\n", "1:18"},
	{"bundle: {layers: [a]}\n", "1:19"},
	{"bundle: {layers: [{}]}\n", "1:19"},
	{"bundle: {layers: [{name: a}]}\n", "1:19"},
	{"bundle: {layers: [{paths: [a]}]}\n", "1:19"},
	{"bundle: {layers: [{name: A, paths: [a]}]}\n", "1:26"},
	{"bundle: {layers: [{name: +a, paths: [a]}]}\n", "1:26"},
	{"bundle: {layers: [{name: '', paths: [a]}]}\n", "1:26"},
	{"bundle: {layers: [{name: a, paths: []}]}\n", "1:36"},
	{"bundle: {layers: [{name: a, paths: a}]}\n", "1:36"},
	{"bundle: {layers: [{name: a, paths: ['']}]}\n", "1:37"},
	{"bundle: {layers: [{name: a, paths: [[a]]}]}\n", "1:37"},
	{"bundle: {layers: [{name: a, paths: [/a]}]}\n", "1:37"},
	{"bundle: {layers: [{name: a, paths: [a/]}]}\n", "1:37"},
	{"bundle: {layers: [{name: a, paths: [../a]}]}\n", "1:37"},
	{"bundle: {layers: [{name: a, paths: ['[a']}]}\n", "1:37"},
	{"bundle: {layers: [{name: a, paths: ['a\\b']}]}\n", "1:37"},
	{"bundle: {layers: [{name: a, paths: [a], ignore: []}]}\n", "1:49"},
	{"bundle: {layers: [{name: a, paths: [a], ignore: ~}]}\n", "1:49"},
	{"bundle: {layers: [{name: a, paths: [a], ignore: ['/']}]}\n", "1:50"},
	/* roles */
	{LAYER ", roles: }\n", "1:50"},
	{LAYER ", roles: {}}\n", "1:50"},
	{LAYER ", roles: [a]}\n", "1:50"},
	{LAYER ", roles: {x: []}}\n", "1:54"},
	{LAYER ", roles: {x: a}}\n", "1:54"},
	{LAYER ", roles: {x: [b]}}\n", "1:55"},
	{LAYER ", roles: {X: [a]}}\n", "1:51"},
	{LAYER ", roles: {<<: [a]}}\n", "1:51"},
	{"bundle: {roles: {x: [code]}}\n", "1:22"},
	/* external storage */
	{"external_storage: [a]\n", "1:20"},
	{"external_storage: [{storage: s3://bbb}]\n", "1:20"},
	{"external_storage: [{pattern: a}]\n", "1:20"},
	{"external_storage: [{pattern: /a, storage: s3://bbb}]\n", "1:30"},
	{"external_storage: [{min_size: big, storage: s3://bbb}]\n", "1:31"},
	{"external_storage: [{min_size: -1, storage: s3://bbb}]\n", "1:31"},
	{"external_storage: [{pattern: a, storage: /data}]\n", "1:42"},
	{"external_storage: [{pattern: a, storage: http://h/x}]\n", "1:42"},
	{"external_storage: [{pattern: a, storage: 's3://'}]\n", "1:42"},
	{"external_storage: [{pattern: a, storage: 's3://b/?x'}]\n", "1:42"},
	{"external_storage: [{pattern: a, storage: 's3://u@bbb/'}]\n", "1:42"},
	{"external_storage: [{pattern: a, storage: 'az://account'}]\n", "1:42"},
	{"external_storage: [{pattern: a, storage: s3://bbb, tier: warm}]\n",
	 "1:58"},
	/* what YAML has and bundle files have not */
	{"bundle: &x {name: a}\n", "1:9"},
	{"bundle: *x\n", "1:9"},
	{"bundle: {name: &x a}\n", "1:16"},
	{"bundle: {&x name: a}\n", "1:10"},
	{"bundle: !!map {name: a}\n", "1:9"},
	{"bundle: {name: !!str a}\n", "1:16"},
	{"bundle: {name: ! a}\n", "1:16"},
	{"%YAML 1.1\n---\nbundle: {name: a}\n", "1:1"},
	{"%TAG ! tag:x,2000:\n---\nbundle: {name: a}\n", "1:1"},
	{"bundle: {name: a}\n---\nbundle: {name: b}\n", "2:1"},
	{"bundle: {name: a}\n...\n---\n", "3:1"},
	/* what is not YAML */
	{"bundle: {name: a\n", "2:1"},
	{"bundle: [name\n", "2:1"},
	{"bundle: 'a\n", "2:1"},
	{"bundle: \"\\q\"\n", "1:10"},
	{"\tbundle: a\n", "1:1"},
	{"bundle: a: b\n", "1:10"},
	{"bundle:\n  name: a\n version: b\n", "3:2"},
	{"bundle: {name: a}}\n", "1:18"},
	{"@\n", "1:1"},
	{"bundle: \xff\n", "1:9"},
	{"bundle:\n  name: \xc3\n", "2:10"},
	{"bundle: \x01\n", "1:9"},
	{"\xfe\xff\x00a", "1:1"},
};

Test(bundle_file, refuses_with_line_and_column)
{
	cr_assert(ge(sz, ARRAY_SIZE(hostile), 60));
	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
		cleanup_bundle_file struct bundle_file b = {0};
		cleanup_error struct error *err = NULL;
		cleanup_free char *place =
			xasprintf("f:%s: ", hostile[i].place);
		int r = parse(hostile[i].text, &b, &err);

		cr_expect(r == -EINVAL, "%d for %s", r, hostile[i].text);
		cr_assert(err != NULL, "%s", hostile[i].text);
		cr_expect(err->kind == ERROR_VALIDATION, "%s", hostile[i].text);
		cr_expect(strncmp(err->message, place, strlen(place)) == 0,
			  "'%s' does not begin with '%s', for: %s",
			  err->message, place, hostile[i].text);
		cr_expect(b.layers == NULL && b.file == NULL);
	}
}

/* @before, @n times @unit, @after. */
static char *repeat(const char *before, const char *unit, size_t n,
		    const char *after)
{
	struct strbuf sb = STRBUF_INIT;

	strbuf_adds(&sb, before);
	for (size_t i = 0; i < n; i++)
		strbuf_adds(&sb, unit);
	strbuf_adds(&sb, after);
	return strbuf_steal(&sb);
}

static int64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static void expect_quick_refusal(const char *what, char *take_text)
{
	cleanup_free char *text = take_text;
	cleanup_bundle_file struct bundle_file b = {0};
	cleanup_error struct error *err = NULL;
	/* Of this thread alone: the machine may be busy. */
	int64_t start = cpu_ns(), took;
	int r = parse(text, &b, &err);

	took = (cpu_ns() - start) / NS_PER_MS;
	cr_expect(r == -EINVAL, "%s: %d", what, r);
	cr_expect(err && strncmp(err->message, "f:", 2) == 0, "%s", what);
	cr_expect(took < 100, "%s: %lld ms", what, (long long)took);
}

Test(bundle_file, bombs_do_not_go_off)
{
	size_t mib = YAML_MAX_BYTES;

	expect_quick_refusal("aliases",
			     xstrdup("a: &a [x,x,x,x,x,x,x,x,x]\n"
				     "b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
				     "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
				     "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"));
	expect_quick_refusal("deep flow", repeat("", "[", mib - 1, ""));
	expect_quick_refusal("deep mappings",
			     repeat("", "{a: ", mib / 4 - 1, ""));
	expect_quick_refusal("deep block", repeat("", "- ", mib / 2 - 1, ""));
	expect_quick_refusal("17 deep", repeat("bundle: ", "[", 17, ""));
	expect_quick_refusal("many values",
			     repeat("bundle: [", "a,", 200000, "]"));
	expect_quick_refusal("many keys", repeat("", "? \n", 200000, ""));
	expect_quick_refusal("over 1 MiB", repeat("#", "x", mib, "\n"));
	expect_quick_refusal("one comment", repeat("#", "x", mib - 1, ""));
	expect_quick_refusal("many comments", repeat("", "#\n", mib / 2, ""));
	expect_quick_refusal("blank lines", repeat("", "\n", mib, ""));
	expect_quick_refusal("spaces", repeat("", " ", mib, ""));
	expect_quick_refusal("one scalar", repeat("", "x", mib, ""));
	expect_quick_refusal("one open quote", repeat("'", "x", mib - 1, ""));
	expect_quick_refusal("escapes", repeat("\"", "\\x41", mib / 4 - 1, ""));
	expect_quick_refusal("folded lines",
			     repeat("bundle: >\n", " x\n\n", mib / 4 - 3, ""));
	expect_quick_refusal("one key",
			     repeat("bundle: {", "k", mib - 20, ": 1}\n"));
	expect_quick_refusal("colons", repeat("", ":", mib, ""));
	expect_quick_refusal("question marks", repeat("", "? ", mib / 2, ""));
	expect_quick_refusal("documents", repeat("", "---\n", mib / 4, ""));
	expect_quick_refusal("anchors", repeat("", "&a ", mib / 3, ""));
	expect_quick_refusal("tags", repeat("", "!a ", mib / 3, ""));
	expect_quick_refusal("directives",
			     repeat("", "%TAG !a! b:\n", mib / 12, "---\n"));
	expect_quick_refusal("commas", repeat("bundle: [", ",", mib - 20, ""));
	expect_quick_refusal("flow pairs",
			     repeat("bundle: [", "a: b,", mib / 5 - 4, ""));
}

Test(bundle_file, refuses_more_layers_than_trees)
{
	struct strbuf sb = STRBUF_INIT;
	cleanup_bundle_file struct bundle_file b = {0};
	cleanup_error struct error *err = NULL;
	char *text;

	strbuf_adds(&sb, "bundle:\n  layers:\n");
	for (int i = 0; i < 33; i++)
		strbuf_addf(&sb, "    - {name: l%d, paths: [a]}\n", i);
	text = strbuf_steal(&sb);
	cr_expect(eq(int, parse(text, &b, &err), -EINVAL));
	cr_expect(eq(str, err->message, "f:3:5: more than 32 layers"));
	free(text);
}

Test(bundle_file, is_read_from_a_folder)
{
	cleanup_tmpdir char *dir = tmpdir_new();
	cleanup_free char *path = xasprintf("%s/" BUNDLE_FILE_NAME, dir);
	cleanup_bundle_file struct bundle_file none = {0}, b = {0};
	static const char text[] = "bundle: {name: a}\n";

	cr_assert(eq(int, bundle_file_load(dir, &none, NULL), 0));
	cr_expect(eq(ptr, none.name, NULL));
	cr_expect(eq(ptr, none.file, NULL));
	expect_default_layer(&none);
	cr_assert(eq(int,
		     io_write_file_atomic(AT_FDCWD, path, text,
					  sizeof(text) - 1, 0644),
		     0));
	cr_assert(eq(int, bundle_file_load(dir, &b, NULL), 0));
	cr_expect(eq(str, b.name, "a"));
	cr_expect(eq(str, b.file, path));
}

Test(bundle_file, must_be_a_regular_file)
{
	cleanup_tmpdir char *dir = tmpdir_new();
	cleanup_free char *path = xasprintf("%s/" BUNDLE_FILE_NAME, dir);
	cleanup_bundle_file struct bundle_file b = {0};

	cr_assert(eq(int, mkfifo(path, 0600), 0));
	cr_expect(eq(int, bundle_file_load(dir, &b, NULL), -EINVAL));
	unlink(path);
	cr_assert(eq(int, symlink("/dev/null", path), 0));
	cr_expect(eq(int, bundle_file_load(dir, &b, NULL), -EINVAL));
	unlink(path);
	cr_assert(eq(int, mkdir(path, 0700), 0));
	cr_expect(eq(int, bundle_file_load(dir, &b, NULL), -EINVAL));
}

Test(bundle_file, a_folder_that_is_not_there_is_not_found)
{
	cleanup_bundle_file struct bundle_file b = {0};
	cleanup_error struct error *err = NULL;

	cr_assert(eq(int, bundle_file_load("/no/such", &b, &err), -ENOENT));
	cr_expect(eq(int, err->kind, ERROR_NOT_FOUND));
}
