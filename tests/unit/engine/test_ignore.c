#include "engine/ignore.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"

struct ignore_case {
	const char *patterns; /* the file */
	const char *path;     /* a slash at its end: a folder */
	enum ignore_verdict verdict;
};

#define OUT  IGNORE_LEAVE_OUT
#define IN   IGNORE_TAKE
#define NONE IGNORE_NO_OPINION

/*
 * Verified against git check-ignore 2.39.5. Where git departs from its manual
 * (two stars right behind a literal beginning, "**\/"), no case is given.
 */
static const struct ignore_case cases[] = {
	/* without a slash: at any depth */
	{"foo", "foo", OUT},
	{"foo", "foo/", OUT},
	{"foo", "a/b/foo", OUT},
	{"foo", "foobar", NONE},
	{"foo", "a/foobar", NONE},
	{"*.pyc", "x.pyc", OUT},
	{"*.pyc", "a/.pyc", OUT},
	{"*.pyc", "x.py", NONE},
	{"f?o", "a/fxo", OUT},
	{"f?o", "fo", NONE},
	{"[ab].txt", "c/b.txt", OUT},
	{"[!ab].txt", "b.txt", NONE},
	{"[!ab].txt", "c.txt", OUT},
	{"*", "anything", OUT},
	{"**", "a/b", OUT},
	{".*", ".hidden", OUT},
	{".*", "a/.hidden", OUT},
	{".*", "visible", NONE},
	/* a slash at the end: folders */
	{"build/", "build/", OUT},
	{"build/", "build", NONE},
	{"build/", "a/build/", OUT},
	{"*/", "a/", OUT},
	{"*/", "a", NONE},
	{"/", "a", NONE},
	{"/", "a/", NONE},
	/* another slash: anchored */
	{"/foo", "foo", OUT},
	{"/foo", "a/foo", NONE},
	{"a/foo", "a/foo", OUT},
	{"a/foo", "b/a/foo", NONE},
	{"/a/*.c", "a/x.c", OUT},
	{"/a/*.c", "a/b/x.c", NONE},
	{"a/b/", "a/b/", OUT},
	{"a/b/", "a/b", NONE},
	{"a/b/", "x/a/b/", NONE},
	{"//foo", "foo", NONE},
	{"a//b", "a/b", NONE},
	/* two stars */
	{"**/foo", "foo", OUT},
	{"**/foo", "a/b/foo", OUT},
	{"**/foo/bar", "foo/bar", OUT},
	{"**/foo/bar", "a/foo/bar", OUT},
	{"**/foo/bar", "foo/a/bar", NONE},
	{"abc/**", "abc/x", OUT},
	{"abc/**", "abc/x/y", OUT},
	{"abc/**", "abc/", NONE},
	{"abc/**", "x/abc/y", NONE},
	{"a/**/b", "a/b", OUT},
	{"a/**/b", "a/x/y/b", OUT},
	{"a/**/b", "a/xb", NONE},
	{"a/**/", "a/b/", OUT},
	{"a/**/", "a/b", NONE},
	{"a**/b", "axx/b", OUT},
	{"?a**/b", "xax/x/b", NONE},
	{"foo**bar", "fooxbar", OUT},
	{"***/foo", "a/foo", OUT},
	{"a/***", "a/b/c", OUT},
	{"/**/x", "a/x", OUT},
	/* what is taken back; the last one that matches decides */
	{"*.c\n!main.c", "main.c", IN},
	{"*.c\n!main.c", "a/main.c", IN},
	{"*.c\n!main.c", "x.c", OUT},
	{"!main.c\n*.c", "main.c", OUT},
	{"a\n!a\na", "a", OUT},
	{"!a/", "a/", IN},
	{"!a/", "a", NONE},
	{"!", "a", NONE},
	{"\\!a", "!a", OUT},
	{"!!a", "!a", IN},
	{"!/a", "a", IN},
	/* comments, blanks, line ends */
	{"#foo", "#foo", NONE},
	{"\\#foo", "#foo", OUT},
	{"a #b", "a #b", OUT},
	{"", "a", NONE},
	{"\n\n\nfoo\n\n", "foo", OUT},
	{"foo\r\nbar\r\n", "foo", OUT},
	{"foo\r\nbar\r\n", "bar", OUT},
	{"foo\rbar", "foo\rbar", OUT},
	{"foo   ", "foo", OUT},
	{"foo\\ ", "foo ", OUT},
	{"foo\\  ", "foo ", OUT},
	{"foo\\ ", "foo", NONE},
	{"foo\t", "foo", NONE},
	{"foo\t", "foo\t", OUT},
	{" foo", " foo", OUT},
	{" foo", "foo", NONE},
	{"a b", "a b", OUT},
	{"   ", "   ", NONE},
	{"\xef\xbb\xbf"
	 "foo",
	 "foo", OUT},
	/* escapes and sets */
	{"\\*", "*", OUT},
	{"\\*", "a", NONE},
	{"a\\?b", "a?b", OUT},
	{"a\\?b", "axb", NONE},
	{"\\f\\o\\o", "foo", OUT},
	{"foo\\", "foo", NONE},
	{"foo\\", "foo\\", NONE},
	{"foo\\\\", "foo\\", OUT},
	{"a[\\]]b", "a]b", OUT},
	{"a[]]b", "a]b", OUT},
	{"a[b", "a[b", NONE},
	{"a[", "a[", NONE},
	{"[[:digit:]]x", "7x", OUT},
	{"[[:digit:]]x", "ax", NONE},
	{"[[:nope:]]x", "nx", NONE},
	{"[a-c]x", "bx", OUT},
	{"[c-a]x", "bx", NONE},
	{"[c-a]x", "cx", OUT},
	{"[c-a]x", "ax", NONE},
	{"[a-]x", "-x", OUT},
	{"a[/]b", "a/b", NONE},
	{"a[^x]b", "a/b", NONE},
	{"/a*/b", "aa/b", OUT},
	/* bytes: an e with an accent has two */
	{"?", "\xc3\xa9", NONE},
	{"??", "\xc3\xa9", OUT},
	/* made NFC */
	{"caf\x65\xcc\x81", "caf\xc3\xa9", OUT},
};

static enum ignore_verdict ask(const char *patterns, const char *path)
{
	cleanup_error struct error *err = NULL;
	size_t n = strlen(path);
	bool is_dir = n && path[n - 1] == '/';
	enum ignore_verdict v;
	struct ignore *ig;
	int r = ignore_parse(patterns, strlen(patterns), "f", &ig, &err);

	cr_assert(r == 0, "%s: %s", patterns, err ? err->message : "");
	v = ignore_match(ig, path, n - is_dir, is_dir);
	ignore_free(ig);
	return v;
}

Test(ignore, means_what_git_means)
{
	cr_assert(ge(sz, ARRAY_SIZE(cases), 60));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		enum ignore_verdict v = ask(cases[i].patterns, cases[i].path);

		cr_expect(v == cases[i].verdict, "'%s' against '%s': %d",
			  cases[i].patterns, cases[i].path, v);
	}
}

Test(ignore, refuses_text_that_is_not_utf8_with_its_line)
{
	cleanup_error struct error *err = NULL;
	struct ignore *ig = NULL;

	cr_assert(eq(int, ignore_parse("a\nb\n\xff\n", 6, "d/f", &ig, &err),
		     -EINVAL));
	cr_assert(eq(ptr, ig, NULL));
	cr_assert(eq(int, strncmp(err->message, "d/f:3: ", 7), 0));
}

Test(ignore, refuses_a_nul_with_its_line)
{
	cleanup_error struct error *err = NULL;
	struct ignore *ig = NULL;

	cr_assert(eq(int, ignore_parse("a\nb\0c", 5, "f", &ig, &err), -EINVAL));
	cr_assert(eq(str, err->message, "f:2: a NUL character"));
}
