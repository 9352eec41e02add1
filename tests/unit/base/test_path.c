#include "base/path.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strbuf.h"

static const char *flaw_of(const char *s)
{
	return path_flaw(s, strlen(s));
}

Test(path, accepts_names_that_are_merely_unusual)
{
	static const char *const good[] = {
		"a",
		"a/b",
		"a b",
		" ",
		"a ",
		" a",
		"-",
		"-rf",
		"~",
		"~root",
		"$HOME",
		"*",
		"?",
		"[a]",
		"a:b",
		"C:",
		"a;b",
		"a|b",
		"a\"b",
		"a'b",
		"`id`",
		"$(id)",
		"%2e%2e",
		"...",
		"....",
		"..a",
		"a..",
		".a",
		"a.",
		".hidden",
		"a/.b",
		"a/...",
		"con",
		"nul",
		"aux.txt",
		"com1",
		"a<b>",
		"é",
		"e\xcc\x81",
		"漢字/かな",
		"😀",
		"\xef\xbf\xbe",
		"\xee\x80\x80",
		"\xe2\x80\xaetxt",
		"\xc2\xa0",
		"\xc2\xad",
		"\xf4\x8f\xbf\xbf",
		"\xef\xbb\xbf\x62om",
		".gitignore",
		".gita",
		"git",
		"a.git",
		".git ",
		".gi",
		"x/.gitmodules",
		".GITHUB",
		".mop",
		"mops",
		"a/.mops",
		"a/.mops-bundle.yaml",
		".MOPS",
		".Mops/x",
		"x.json/y",
		"a/b/c/d/e",
		"~",
		"#",
		"a#b",
		"a?b=c",
		"a&b",
		"a=b",
		"a,b",
		"a@b",
		"a+b",
		"{}",
		".wh.a",
		"lost+found",
		"\xc3\x80",
		"\xe2\x80\xa8",
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		cr_expect(eq(ptr, (void *)flaw_of(good[i]), NULL), "'%s': %s",
			  good[i], flaw_of(good[i]));
}

Test(path, refuses_what_is_no_plain_relative_path)
{
	static const char *const bad[] = {
		"",
		"/",
		"//",
		"/a",
		"//a",
		"a/",
		"a//",
		"a//b",
		"/a/",
		"./a",
		".",
		"..",
		"../a",
		"../../a",
		"a/..",
		"a/../b",
		"a/.",
		"a/./b",
		"a/b/..",
		"a/b/../../..",
		"./",
		"../",
		"a/../",
		"...//",
		"\\",
		"a\\b",
		"..\\a",
		"C:\\a",
		"\\\\host\\share",
		"a/b\\c",
		"a\\",
		"a/..\\..",
		"\n",
		"a\nb",
		"a\rb",
		"a\tb",
		"\x01",
		"\x1f",
		"a\x7f",
		"\x1b[2J",
		"a/\x07/b",
		"\xc2\x80",
		"\xc2\x85",
		"\xc2\x9b\x33\x31m",
		"a\xc2\x9f",
		"\xff",
		"\xfe",
		"\x80",
		"a\xc3",
		"\xc3(",
		"\xc0\xaf",
		"\xc0\xae\xc0\xae/a",
		"\xe0\x80\xaf",
		"\xed\xa0\x80",
		"\xed\xa0\xbd\xed\xb8\x80",
		"\xf4\x90\x80\x80",
		"\xf8\x88\x80\x80\x80",
		"caf\xe9",
		".git",
		".GIT",
		".Git",
		".gIt",
		"a/.git",
		"a/.git/config",
		".git/hooks/post-checkout",
		"a/.GiT/x",
		"a/b/.git",
		".mops",
		".mops/",
		".mops/x",
		".mops-bundle.yaml",
		".mopsignore",
		".mopsx",
		".mops.",
		".mops a",
		".mops/.mops-manifest.json",
		"a/ok/\xff/b",
		"a\x02",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect(ne(ptr, (void *)flaw_of(bad[i]), NULL), "'%s'",
			  bad[i]);
}

Test(path, refuses_every_control_byte_and_nul)
{
	for (int c = 0; c < 256; c++) {
		char s[] = {'a', (char)c, 'b'};
		bool refused = path_component_flaw(s, 3) != NULL;
		bool control = c < 0x20 || c == 0x7f;

		cr_expect(eq(int, refused,
			     control || c >= 0x80 || c == '/' || c == '\\'),
			  "byte %d", c);
	}
	for (int c = 0x80; c <= 0xbf; c++) {
		char s[] = {(char)0xc2, (char)c};

		cr_expect(eq(int, path_component_flaw(s, 2) != NULL, c < 0xa0),
			  "U+%04X", c);
	}
}

/* A path of @n components of @len bytes each. */
static char *long_path(size_t n, size_t len)
{
	struct strbuf sb = STRBUF_INIT;

	for (size_t i = 0; i < n; i++) {
		if (i)
			strbuf_addc(&sb, '/');
		for (size_t k = 0; k < len; k++)
			strbuf_addc(&sb, 'x');
	}
	return strbuf_steal(&sb);
}

Test(path, limits_are_exact)
{
	static const struct {
		size_t n, len;
		bool ok;
	} cases[] = {
		{1, 255, true},  {1, 256, false}, {64, 1, true},
		{65, 1, false},  {64, 31, true}, /* 2,047 bytes */
		{8, 255, true},                  /* 2,047 bytes */
		{8, 256, false}, {9, 255, false}, {1000, 1, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_free char *s = long_path(cases[i].n, cases[i].len);

		cr_expect(eq(int, !flaw_of(s), cases[i].ok), "%zu × %zu",
			  cases[i].n, cases[i].len);
	}
	{
		/* 2,048 bytes, and one more. */
		cleanup_free char *a = long_path(64, 31), *b = NULL, *c = NULL;

		b = xasprintf("%sx", a);
		c = xasprintf("%sxx", a);
		cr_assert(eq(ptr, (void *)flaw_of(b), NULL));
		cr_assert(ne(ptr, (void *)flaw_of(c), NULL));
	}
	{
		/* Bytes count, not characters. */
		cleanup_strbuf struct strbuf sb = STRBUF_INIT;

		for (int i = 0; i < 127; i++)
			strbuf_adds(&sb, "é");
		cr_assert(eq(ptr, (void *)flaw_of(sb.buf), NULL));
		strbuf_adds(&sb, "é");
		cr_assert(ne(ptr, (void *)flaw_of(sb.buf), NULL));
	}
}

Test(path, the_top_level_rule_is_not_one_of_components)
{
	cr_assert(eq(ptr, (void *)path_component_flaw(".mops", 5), NULL));
	cr_assert(path_reserved_at_top(".mopsignore", 11));
	cr_assert(not(path_reserved_at_top(".mop", 4)));
	cr_assert(not(path_reserved_at_top("mops", 4)));
	cr_assert(path_is_dotgit(".gIT", 4));
	cr_assert(not(path_is_dotgit(".git/", 5)));
	cr_assert(not(path_is_dotgit(".gi", 3)));
	cr_assert(ne(ptr, (void *)path_component_flaw("a/b", 3), NULL));
}

Test(link_target, stays_inside_or_is_refused)
{
	static const struct {
		const char *target;
		unsigned depth;
		bool ok;
	} cases[] = {
		{"a", 0, true},
		{"a/b", 0, true},
		{"..", 0, false},
		{"../a", 0, false},
		{"..", 1, true},
		{"../a", 1, true},
		{"../..", 1, false},
		{"../../a", 1, false},
		{"../..", 2, true},
		{"../../a/b", 2, true},
		{"", 0, false},
		{"", 5, false},
		{"/", 3, false},
		{"/etc/passwd", 3, false},
		{"a/..", 3, false},
		{"a/../b", 3, false},
		{"../a/..", 3, false},
		{"../a/../b", 3, false},
		{".", 3, false},
		{"./a", 3, false},
		{"../.", 3, false},
		{".././a", 3, false},
		{"../", 3, false},
		{"..//a", 3, false},
		{"a/", 3, false},
		{"a//b", 3, false},
		{"...", 0, true},
		{"..a", 0, true},
		{"..a/b", 0, true},
		{"a\\b", 3, false},
		{"..\\a", 3, false},
		{"a\nb", 3, false},
		{"\xff", 3, false},
		{"../\xc3", 3, false},
		{".git/config", 3, false},
		{"../.GIT", 3, false},
		{"../../../../x", 3, false},
		{"../../../x", 3, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *t = cases[i].target;
		const char *flaw =
			link_target_flaw(t, strlen(t), cases[i].depth);

		cr_expect(eq(int, !flaw, cases[i].ok), "'%s' at %u: %s", t,
			  cases[i].depth, flaw ? flaw : "fine");
	}
	cr_expect(link_target_flaw("a\0b", 3, 0) != NULL);
	cr_expect(link_target_flaw("..\0", 3, 5) != NULL);
}

Test(link_target, length_is_limited)
{
	/* 32 × 31 bytes and slashes are 1,023. */
	cleanup_free char *a = long_path(32, 31), *b = NULL, *c = NULL;

	b = xasprintf("%sx", a);
	c = xasprintf("%sxx", a);
	cr_assert(eq(ptr, (void *)link_target_flaw(b, 1024, 0), NULL));
	cr_assert(ne(ptr, (void *)link_target_flaw(c, 1025, 0), NULL));
}

Test(utf8, knows_good_from_bad)
{
	cr_assert(utf8_valid("", 0));
	cr_assert(utf8_valid("plain", 5));
	cr_assert(utf8_valid("a\0b", 3));
	cr_assert(utf8_valid("é漢😀", 9));
	cr_assert(not(utf8_valid("é", 1)));
	cr_assert(not(utf8_valid("漢", 2)));
	cr_assert(not(utf8_valid("😀", 3)));
	cr_assert(not(utf8_valid("a\xff", 2)));
}

static char *nfc(const char *s)
{
	char *out = NULL;

	cr_assert(eq(int, path_to_nfc(s, strlen(s), &out, NULL), 0), "%s", s);
	return out;
}

Test(nfc, composes_and_leaves_the_rest)
{
	static const struct {
		const char *in, *want;
	} cases[] = {
		{"", ""},
		{"plain/path.txt", "plain/path.txt"},
		{"e\xcc\x81", "\xc3\xa9"},
		{"\xc3\xa9", "\xc3\xa9"},
		{"\xe2\x84\xab", "\xc3\x85"}, /* Angstrom sign */
		{"\xe1\x84\x80\xe1\x85\xa1", "\xea\xb0\x80"}, /* Hangul */
		{"a\xcc\xa3\xcc\x82", "\xe1\xba\xad"},
		{"a\xcc\x82\xcc\xa3", "\xe1\xba\xad"}, /* marks reordered */
		{"\xef\xac\x81", "\xef\xac\x81"},      /* no compatibility */
		{"\xe0\xa4\x95\xe0\xa4\xbc", "\xe0\xa4\x95\xe0\xa4\xbc"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_free char *s = nfc(cases[i].in);

		cr_expect(eq(str, s, cases[i].want));
	}
}

Test(nfc, is_stable)
{
	cleanup_free char *a =
		nfc("A\xcc\x8a\xe2\x84\xab\xe1\x84\x92\xe1\x85\xa1");
	cleanup_free char *b = nfc(a);

	cr_assert(eq(str, a, b));
}

Test(nfc, refuses_what_has_no_fixed_form)
{
	static const struct {
		const char *s;
		size_t n;
	} bad[] = {
		{"\xff", 1},
		{"a\xc3", 2},
		{"\xed\xa0\x80", 3},
		{"\xcd\xb8", 2},         /* U+0378 */
		{"\xf3\xa0\x82\x80", 4}, /* U+E0080 */
		{"\xef\xbf\xbf", 3},     /* U+FFFF */
		{"a\0b", 3},
		{"é\0", 3},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char *out = NULL;

		cr_expect(eq(int, path_to_nfc(bad[i].s, bad[i].n, &out, NULL),
			     -EINVAL),
			  "%zu", i);
		cr_expect(eq(ptr, out, NULL));
	}
}

static char *folded(const char *s)
{
	char *out = NULL;

	cr_assert(eq(int, path_casefold(s, strlen(s), &out, NULL), 0));
	return out;
}

Test(casefold, meets_where_names_differ_only_in_case)
{
	static const struct {
		const char *a, *b;
		bool same;
	} cases[] = {
		{"README", "readme", true},  {"É", "e\xcc\x81", true},
		{"Straße", "STRASSE", true}, {"Σ", "ς", true},
		{"K", "\xe2\x84\xaa", true}, /* Kelvin sign */
		{"a", "b", false},           {"e", "é", false},
		{"a/B", "A/b", true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_free char *a = folded(cases[i].a);
		cleanup_free char *b = folded(cases[i].b);

		cr_expect(eq(int, !strcmp(a, b), cases[i].same), "%s, %s",
			  cases[i].a, cases[i].b);
	}
	cr_assert(eq(int, path_casefold("\xff", 1, &(char *){NULL}, NULL),
		     -EINVAL));
}

Test(layer_name, follows_its_pattern)
{
	static const char *const good[] = {
		"a",
		"0",
		"code",
		"a.b",
		"a_b",
		"a-b",
		"a..",
		"a--",
		("0123456789012345678901234567890123456789012345678901234567890"
		 "12"),
	};
	static const char *const bad[] = {
		"",
		"A",
		"Code",
		".a",
		"-a",
		"_a",
		"a b",
		"a/b",
		"a+b",
		"é",
		"+role",
		"a\n",
		"a:b",
		("0123456789012345678901234567890123456789012345678901234567890"
		 "123"),
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		cr_expect(layer_name_valid(good[i]), "'%s'", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect(not(layer_name_valid(bad[i])), "'%s'", bad[i]);
}
