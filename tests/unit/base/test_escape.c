#include "base/escape.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

static char *escaped(const char *s, size_t n)
{
	struct strbuf sb = STRBUF_INIT;

	escape_add(&sb, s, n);
	return strbuf_steal(&sb);
}

Test(escape, leaves_readable_text_alone)
{
	cleanup_free char *s = escape_str("a b/ü漢😀~'\"é");

	cr_assert(eq(str, s, "a b/ü漢😀~'\"é"));
}

Test(escape, leaves_a_json_text_what_it_is)
{
	static const struct {
		const char *in, *want;
	} cases[] = {
		{"{\"a\":[1,\"ü漢😀\\n\"]}", "{\"a\":[1,\"ü漢😀\\n\"]}"},
		{"{\n\t\"a\": 1\r}", "{  \"a\": 1 }"},
		{"[\"\xc2\x9b[2J\x7f\"]", "[\"\\u009b[2J\\u007f\"]"},
		{"[\"\xe2\x80\xae"
		 "gpj\"]",
		 "[\"\\u202egpj\"]"},
		{"[\"\xd8\x9c\xff\"]", "[\"\\u061c\\ufffd\"]"},
		{"", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_strbuf struct strbuf got = STRBUF_INIT;

		escape_add_json(&got, cases[i].in, strlen(cases[i].in));
		cr_expect(eq(str, (char *)strbuf_str(&got),
			     (char *)cases[i].want));
	}
}

Test(escape, spells_out_what_can_fool_a_terminal)
{
	static const struct {
		const char *in, *want;
	} cases[] = {
		{"\033[2J", "\\x1b[2J"},
		{"a\nb\r\tc", "a\\x0ab\\x0d\\x09c"},
		{"\x7f", "\\x7f"},
		{"\xc2\x9b"
		 "31m",
		 "\\xc2\\x9b31m"}, /* C1 control sequence introducer */
		{"\xe2\x80\xae"
		 "gpj",
		 "\\xe2\\x80\\xaegpj"}, /* right-to-left override */
		{"\xe2\x81\xa6", "\\xe2\\x81\\xa6"},
		{"\xe2\x81\xa9", "\\xe2\\x81\\xa9"},
		{"\xe2\x80\x8e\xe2\x80\x8f", "\\xe2\\x80\\x8e\\xe2\\x80\\x8f"},
		{"\xd8\x9c", "\\xd8\\x9c"},
		{"\\x1b", "\\\\x1b"},
		{"\xff\xfe", "\\xff\\xfe"},
		{"\xc3", "\\xc3"},
		{"\xc0\xaf", "\\xc0\\xaf"},          /* overlong */
		{"\xed\xa0\x80", "\\xed\\xa0\\x80"}, /* surrogate */
		{"\xc3(", "\\xc3("},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_free char *s = escape_str(cases[i].in);

		cr_expect(eq(str, s, cases[i].want));
	}
}

/* Whatever comes in, what goes out is printable, and tells inputs apart. */
Test(escape, no_byte_pair_leaves_a_control_byte)
{
	for (unsigned v = 0; v < 65536; v++) {
		char in[2] = {(char)(v >> 8), (char)v};
		cleanup_free char *s = escaped(in, 2);

		for (const char *p = s; *p; p++)
			cr_assert(eq(int, iscntrl((unsigned char)*p), 0),
				  "%04x", v);
		cr_assert(eq(ptr, strstr(s, "\xc2\x80"), NULL));
	}
}

Test(escape, all_of_c1_is_spelled_out)
{
	for (int c = 0x80; c <= 0xa0; c++) {
		char in[2] = {(char)0xc2, (char)c};
		cleanup_free char *s = escaped(in, 2);

		cr_assert(eq(int, s[0] == '\\', c < 0xa0), "U+%04X", c);
	}
}

Test(escape, nul_is_spelled_out)
{
	cleanup_free char *s = escaped("a\0b", 3);

	cr_assert(eq(str, s, "a\\x00b"));
}

Test(print_line, is_one_line_whatever_is_in_it)
{
	cleanup_free char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	print_line(f, "no bundle '%s'", "a\nfake: b\033[0m");
	fclose(f);
	cr_assert(eq(str, text, "no bundle 'a\\x0afake: b\\x1b[0m'\n"));
}
