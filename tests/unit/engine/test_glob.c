#include "engine/glob.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/time.h"

struct glob_case {
	const char *pattern, *path;
	bool match;
};

static const struct glob_case cases[] = {
	/* this folder only */
	{"a", "a", true},
	{"a", "b", false},
	{"a", "a/a", false},
	{"a", "b/a", false},
	{"a", "aa", false},
	{"*", "a", true},
	{"*", ".a", true},
	{"*", "a/b", false},
	{"*.toml", "x.toml", true},
	{"*.toml", ".toml", true},
	{"*.toml", "x.toml2", false},
	{"*.toml", "d/x.toml", false},
	{"?", "a", true},
	{"?", "ab", false},
	{"?", "\xc3\xa9", true},
	{"??", "\xc3\xa9", false},
	{"?", "\xf0\x9f\x98\x80", true},
	{"a?c", "abc", true},
	{"a?c", "a/c", false},
	{"a*c", "ac", true},
	{"a*c", "abbbc", true},
	{"a*c", "ab/c", false},
	{"a*b*c", "aXbYbZc", true},
	{"a*b*c", "aXcYb", false},
	{"*a*", "bab", true},
	{"*a*", "bbb", false},
	{"***", "abc", true},
	{"a**", "abc", true},
	{"a**", "a/bc", false},
	{"a**c", "abc", true},
	{"a**c", "ab/c", false},
	/* folders */
	{"data/*", "data/x", true},
	{"data/*", "data/.x", true},
	{"data/*", "data/d/x", false},
	{"data/*", "data", false},
	{"*/x", "d/x", true},
	{"*/x", "x", false},
	{"*/x", "d/e/x", false},
	{"a/b/c", "a/b/c", true},
	{"a/b/c", "a/b", false},
	{"a/b", "a/b/c", false},
	/* any depth below */
	{"data/**", "data/x", true},
	{"data/**", "data/d/e/.x", true},
	{"data/**", "data", false},
	{"data/**", "xdata/x", false},
	{"data/**", "x/data/x", false},
	{"**", "a", true},
	{"**", "a/b/c", true},
	{"**", ".a/.b", true},
	{"***", "a/b", true},
	/* zero or more folders */
	{"**/x", "x", true},
	{"**/x", "a/x", true},
	{"**/x", "a/b/x", true},
	{"**/x", "a/b/xx", false},
	{"**/x", "a/x/b", false},
	{"**/*", "a", true},
	{"**/*", "a/b", true},
	{"src/**/*.py", "src/a.py", true},
	{"src/**/*.py", "src/a/b/c.py", true},
	{"src/**/*.py", "a.py", false},
	{"src/**/*.py", "src/a.pyc", false},
	{"src/**/*.py", "lib/src/a.py", false},
	{"**/__pycache__/**", "__pycache__/a", true},
	{"**/__pycache__/**", "a/b/__pycache__/c/d", true},
	{"**/__pycache__/**", "a/__pycache__", false},
	{"a/**/b", "a/b", true},
	{"a/**/b", "a/x/b", true},
	{"a/**/b", "a/x/y/b", true},
	{"a/**/b", "ab", false},
	{"a/**/b", "a/x/bb", false},
	{"a/**/b/**/c", "a/b/b/x/c", true},
	{"a/**/b/**/c", "a/x/b/c", true},
	{"a/**/b/**/c", "a/c/b", false},
	{"a/**/**/b", "a/b", true},
	{"a/**/**/b", "a/x/y/z/b", true},
	{"**/**", "a", true},
	{"**/a/**/a", "a/a", true},
	{"**/a/**/a", "a", false},
	{"**/a/*/a", "a/a/b/a", true},
	{"**/a/*/a", "a/b/a/b/a", true},
	/* sets */
	{"[abc]", "b", true},
	{"[abc]", "d", false},
	{"[a-c]", "b", true},
	{"[a-c]", "d", false},
	{"[!a-c]", "d", true},
	{"[!a-c]", "b", false},
	{"[^a-c]", "d", true},
	{"[]a]", "]", true},
	{"[]a]", "a", true},
	{"[!]a]", "]", false},
	{"[a-]", "-", true},
	{"[-a]", "-", true},
	{"[a-c-e]", "-", true},
	{"[a-c-e]", "d", false},
	{"[*]", "*", true},
	{"[*]", "a", false},
	{"[?]x", "?x", true},
	{"[[]", "[", true},
	{"x[0-9][0-9]", "x42", true},
	{"x[0-9]", "x", false},
	{"[[:digit:]]", "7", true},
	{"[[:digit:]]", "a", false},
	{"[![:digit:]]", "a", true},
	{"[[:alpha:][:digit:]_]", "_", true},
	{"[[:alpha:]]", "\xc3\xa9", false},
	{"[\xc3\xa0-\xc3\xbf]", "\xc3\xa9", true},
	{"[!x]", "\xc3\xa9", true},
	{"a[!x]b", "a/b", false},
	{"[+-9]", "5", true},
	/* ordinary characters */
	{"{a,b}", "{a,b}", true},
	{"{a,b}", "a", false},
	{"a]", "a]", true},
	{"!a", "!a", true},
	{"#a", "#a", true},
	{"a b", "a b", true},
	{" a", "a", false},
	{"A", "a", false},
	/* made NFC: e and a combining acute */
	{"caf\x65\xcc\x81", "caf\xc3\xa9", true},
	{"*/caf\x65\xcc\x81/**", "x/caf\xc3\xa9/y", true},
};

Test(glob, matches_by_the_rules)
{
	cr_assert(ge(sz, ARRAY_SIZE(cases), 80));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_error struct error *err = NULL;
		cleanup_glob struct glob *g = NULL;
		int r = glob_compile(cases[i].pattern, &g, &err);

		cr_assert(r == 0, "%s: %s", cases[i].pattern,
			  err ? err->message : "");
		cr_expect(glob_match(g, cases[i].path, strlen(cases[i].path)) ==
				  cases[i].match,
			  "'%s' against '%s'", cases[i].pattern, cases[i].path);
	}
}

Test(glob, refuses_what_could_never_match)
{
	static const char *const bad[] = {
		"",      "/",       "/a",   "a/",     "a//b",  "./a",
		"a/./b", "a/..",    "..",   "a\\*",   "[",     "[a",
		"[!",    "[]",      "[a-",  "a[b",    "[z-a]", "[/]",
		"[a/b]", "[[:x:]]", "\xff", "a/\xc3", "**/",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cleanup_error struct error *err = NULL;
		cleanup_glob struct glob *g = NULL;
		int r = glob_compile(bad[i], &g, &err);

		cr_expect(r == -EINVAL, "'%s' gives %d", bad[i], r);
		cr_expect(g == NULL, "'%s'", bad[i]);
	}
}

Test(glob, refuses_a_pattern_without_end)
{
	cleanup_free char *long_one = xcalloc(1, GLOB_MAX + 2);
	cleanup_glob struct glob *g = NULL;

	memset(long_one, 'a', GLOB_MAX + 1);
	cr_assert(eq(int, glob_compile(long_one, &g, NULL), -EINVAL));
	long_one[GLOB_MAX] = '\0';
	cr_assert(eq(int, glob_compile(long_one, &g, NULL), 0));
}

Test(glob, is_never_slow)
{
	static const char *const patterns[] = {
		"*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b",
		"**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/b",
		"**/*a*a*a*a*/**/*a*a*a*a*/**/*a*a*a*b",
	};
	char path[2048];
	int64_t start = time_mono_ns();

	memset(path, 'a', sizeof(path));
	for (size_t i = 31; i < sizeof(path); i += 32)
		path[i] = '/';
	for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
		cleanup_glob struct glob *g = NULL;

		cr_assert(eq(int, glob_compile(patterns[i], &g, NULL), 0));
		for (int k = 0; k < 100; k++)
			cr_assert(not(glob_match(g, path, sizeof(path) - 1)));
	}
	cr_expect(time_mono_ns() - start < NS_PER_S, "300 matches in %lld ms",
		  (long long)(time_mono_ns() - start) / NS_PER_MS);
}
