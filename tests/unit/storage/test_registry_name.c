#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/alloc.h"
#include "storage/registry.h"

static char *repeat(char c, size_t n)
{
	char *s = xmalloc(n + 1);

	memset(s, c, n);
	s[n] = '\0';
	return s;
}

Test(repo_name, knows_the_grammar)
{
	static const char *const good[] = {
		"a",    "0",    "epi-sir", "a/b/c",   "a.b_c-d",
		"a__b", "a--b", "a---b",   "team/x1", "a----9/b.c",
	};
	static const char *const bad[] = {
		"",     "A",        "a/",   "/a",   "a//b", "a..b",   "a___b",
		"a._b", ".a",       "a.",   "-a",   "a-",   "a_",     "_a",
		"a b",  "a:b",      "a@b",  "..",   "../a", "a/../b", "a/./b",
		"a\n",  "\xc3\xa9", "a%2f", "a_-b", "a-.b",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(good); i++)
		cr_expect(repo_name_valid(good[i]), "'%s'", good[i]);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect(not(repo_name_valid(bad[i])), "'%s'", bad[i]);
}

Test(repo_name, ends_at_255_bytes)
{
	cleanup_free char *longest = repeat('a', 255);
	cleanup_free char *longer = repeat('a', 256);

	cr_expect(repo_name_valid(longest));
	cr_expect(not(repo_name_valid(longer)));
}

Test(tag, knows_the_grammar_and_ends_at_128_bytes)
{
	static const char *const good[] = {"1.3.2", "_x", "A-b.C_d", "v"};
	static const char *const bad[] = {"",    ".a",  "-a", "a:b", "a/b",
					  "a b", "a\n", "..", "é"};
	cleanup_free char *longest = repeat('a', 128);
	cleanup_free char *longer = repeat('a', 129);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(good); i++)
		cr_expect(tag_valid(good[i]), "'%s'", good[i]);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect(not(tag_valid(bad[i])), "'%s'", bad[i]);
	cr_expect(tag_valid(longest));
	cr_expect(not(tag_valid(longer)));
}
