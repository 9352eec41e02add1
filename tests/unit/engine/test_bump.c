#include "engine/bump.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"

static void expect(const char *version, const char *part, const char *want)
{
	cleanup_free char *got = NULL;

	cr_assert(eq(int, version_bump(version, part, &got, NULL), 0));
	cr_expect(eq(str, got, (char *)want));
}

Test(bump, raises_one_number)
{
	expect("1.2.3", "patch", "1.2.4");
	expect("1.2.3", "minor", "1.3.0");
	expect("1.2.3", "major", "2.0.0");
	expect("0.0.9", "patch", "0.0.10");
	expect("4294967295.0.0", "major", "4294967296.0.0");
}

Test(bump, refuses_what_has_no_next_one)
{
	static const char *const odd[] = {
		"",
		"1",
		"1.2",
		"1.2.3.4",
		"v1.2.3",
		"1.2.x",
		"1..3",
		"1.2.",
		"1.2.3-a",
		"01.2.3",
		"1.2.3 ",
		"-1.2.3",
		"1.2.99999999999999999999",
	};
	char *got = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(odd); i++)
		cr_expect(eq(int, version_bump(odd[i], "patch", &got, NULL),
			     -EINVAL),
			  "'%s'", odd[i]);
	cr_expect(eq(int, version_bump("1.2.3", "", &got, NULL), -EINVAL));
	cr_expect(eq(int, version_bump("1.2.3", "Major", &got, NULL), -EINVAL));
	cr_expect(eq(ptr, got, NULL));
}

static char *reversion(const char *text)
{
	char *got = NULL;
	size_t n = 0;
	int r = bundle_file_reversion(text, strlen(text), "1.2.3", "1.3.0",
				      &got, &n, NULL);

	if (r < 0)
		return xstrdup("refused");
	cr_expect(eq(sz, n, strlen(got)));
	return got;
}

static void expect_file(const char *text, const char *want)
{
	cleanup_free char *got = reversion(text);

	cr_expect(eq(str, got, (char *)want));
}

Test(bump, changes_nothing_but_the_version)
{
	expect_file("bundle:\n  name: a\n  version: 1.2.3\n",
		    "bundle:\n  name: a\n  version: 1.3.0\n");
	expect_file("# 1.2.3\nbundle:\n  version: '1.2.3' # 1.2.3\n",
		    "# 1.2.3\nbundle:\n  version: '1.3.0' # 1.2.3\n");
	expect_file("bundle: {name: a/1.2.3, version: \"1.2.3\"}",
		    "bundle: {name: a/1.2.3, version: \"1.3.0\"}");
	expect_file("bundle:\r\n  version: 1.2.3\r\n  name: a\r\n",
		    "bundle:\r\n  version: 1.3.0\r\n  name: a\r\n");
	/* A column is a character. */
	expect_file("bundle: {layers: [{name: d, paths: [\"\xc3\xa4\"]}], "
		    "version: 1.2.3}",
		    "bundle: {layers: [{name: d, paths: [\"\xc3\xa4\"]}], "
		    "version: 1.3.0}");
	expect_file("bundle:\n  version:\n    1.2.3\n",
		    "bundle:\n  version:\n    1.3.0\n");
}

Test(bump, refuses_a_file_that_says_something_else)
{
	expect_file("bundle:\n  version: 1.2.4\n", "refused");
	expect_file("bundle:\n  name: a\n", "refused");
	expect_file("bundle:\n  version: \"1.2\\x2e3\"\n", "refused");
	expect_file("bundle: [", "refused");
}
