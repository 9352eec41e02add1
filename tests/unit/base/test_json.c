#include "base/json.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

static int accepts(const char *s, size_t n)
{
	cleanup_json struct json *j = NULL;

	return json_parse(s, n, &JSON_LIMITS_DOC, &j, NULL);
}

static struct json *parsed(const char *s)
{
	struct json *j = NULL;
	struct error *err = NULL;

	json_parse(s, strlen(s), &JSON_LIMITS_DOC, &j, &err);
	cr_assert(eq(ptr, err, NULL), "%s", err->message);
	return j;
}

static char *complaint(const char *s)
{
	cleanup_json struct json *j = NULL;
	cleanup_error struct error *err = NULL;

	cr_assert(eq(int, json_parse(s, strlen(s), &JSON_LIMITS_DOC, &j, &err),
		     -EINVAL),
		  "'%s'", s);
	cr_assert(eq(ptr, j, NULL));
	cr_assert(eq(int, err->kind, ERROR_VALIDATION));
	return xstrdup(err->message);
}

Test(json, accepts_what_rfc_8259_allows)
{
	static const char *const good[] = {
		"null",
		"true",
		"false",
		"0",
		"-0",
		"-1",
		"12.5",
		"1e5",
		"1E+5",
		"1e-5",
		"0.0",
		"0e0",
		"-0.0E-0",
		"123456789012345678901234567890",
		"1e400",
		"-1e-400",
		"0.1e1",
		"\"\"",
		"\"a\"",
		"[]",
		"{}",
		"[[]]",
		"{\"\":0}",
		" [ ] ",
		"\t{\n}\r\n",
		"[1,2,3]",
		"{\"a\":1,\"A\":2}",
		"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
		"\"\\u0001\"",
		"\"\\u00e9\"",
		"\"\\uD83D\\uDE00\"",
		"\"\\ud800\\udc00\"",
		"\"\\uDBFF\\uDFFF\"",
		"\"\xc3\xa9\"",
		"\"\xf0\x9f\x98\x80\"",
		"\"\xf4\x8f\xbf\xbf\"",
		"\"\x7f\"",
		"\"\xef\xbf\xbf\"",
		"\"\xe2\x80\xa8\"",
		"[{\"a\":[{}]}]",
		"{\"a\":{\"a\":{\"a\":1}}}",
		"[{\"a\":1},{\"a\":1}]",
		"{\"a\\u0001\":1,\"a\":2}",
		("1234567890123456789012345678901234567890123456789012345678901"
		 "2"
		 "3"),
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		cr_expect(eq(int, accepts(good[i], strlen(good[i])), 0), "'%s'",
			  good[i]);
}

Test(json, refuses_what_it_does_not)
{
	static const char *const bad[] = {
		/* nothing, or no end */
		"",
		" ",
		"\n",
		"[",
		"{",
		"]",
		"}",
		"\"",
		"[1",
		"[1,",
		"{\"a\"",
		"{\"a\":",
		"{\"a\":1",
		"{\"a\":1,",
		"\"a",
		"\"\\",
		"\"\\u",
		"\"\\u12",
		"tru",
		"nul",
		"t",
		"-",
		"[[",
		"[[]",
		"{\"a\":[}",
		/* structure */
		"[,]",
		"[1,]",
		"[,1]",
		"[1,,2]",
		"[1 2]",
		"[1;2]",
		"[1:2]",
		"{,}",
		"{\"a\":1,}",
		"{,\"a\":1}",
		"{\"a\" 1}",
		"{\"a\"::1}",
		"{\"a\":}",
		"{:1}",
		"{a:1}",
		"{1:1}",
		"{null:1}",
		"{[]:1}",
		"{'a':1}",
		"{\"a\":1 \"b\":2}",
		"{\"a\",1}",
		"{\"a\"}",
		"[}",
		"{]",
		"[1}",
		"{\"a\":1]",
		"(1)",
		"<1>",
		/* something after the value */
		"1 2",
		"{}{}",
		"[]]",
		"[],",
		"null,",
		"null null",
		"{} x",
		"\"a\"b",
		"1,",
		"{}\xef\xbb\xbf",
		"[]#",
		"{}/**/",
		"1//",
		/* words */
		"True",
		"NULL",
		"nUll",
		"nil",
		"undefined",
		"NaN",
		"nan",
		"Infinity",
		"-Infinity",
		"inf",
		"truee",
		"nulll",
		"falsey",
		/* numbers */
		"01",
		"-01",
		"00",
		"+1",
		"++1",
		"--1",
		"-+1",
		"1.",
		".1",
		"-.1",
		"1.e1",
		".e1",
		"1e",
		"1e+",
		"1E-",
		"1ee1",
		"1e1.5",
		"1.2.3",
		"0x1",
		"0b1",
		"1_000",
		"1,000",
		"1 000",
		"- 1",
		"0e",
		"1a",
		"\xef\xbc\x91",
		"1e\xef\xbc\x91",
		"1-1",
		"1+1",
		"-a",
		"0.",
		/* strings */
		"'a'",
		"`a`",
		"\"\n\"",
		"\"\t\"",
		"\"\x01\"",
		"\"\x1f\"",
		"\"\\a\"",
		"\"\\v\"",
		"\"\\0\"",
		"\"\\x41\"",
		"\"\\'\"",
		"\"\\U0041\"",
		"\"\\u\"",
		"\"\\u1\"",
		"\"\\u12\"",
		"\"\\u123\"",
		"\"\\u123g\"",
		"\"\\u 123\"",
		"\"\\u+123\"",
		"\"\\u-001\"",
		"\"\\ \"",
		"\"\\\n\"",
		/* what cJSON would pass */
		"\"\\u0000\"",
		"{\"a\\u0000b\":1}",
		"\"a\\u0000\"",
		/* surrogates */
		"\"\\ud800\"",
		"\"\\udbff\"",
		"\"\\udc00\"",
		"\"\\udfff\"",
		"\"\\ud800x\"",
		"\"\\ud800\\n\"",
		"\"\\ud800\\u0041\"",
		"\"\\ud800\\ud800\"",
		"\"\\udc00\\ud800\"",
		"\"\\ud800\\ue000\"",
		"\"\\ud800\\u\"",
		"\"\\uD834\\uDd\"",
		"\"\\uD834\\\"",
		/* UTF-8 */
		"\"\x80\"",
		"\"\xbf\"",
		"\"\xc3\"",
		"\"\xc3\x28\"",
		"\"\xc0\xaf\"",
		"\"\xc0\x80\"",
		"\"\xc1\xbf\"",
		"\"\xe2\x82\"",
		"\"\xe2\x28\xa1\"",
		"\"\xe0\x80\xaf\"",
		"\"\xe0\x9f\xbf\"",
		"\"\xed\xa0\x80\"",
		"\"\xed\xbf\xbf\"",
		"\"\xf0\x80\x80\xaf\"",
		"\"\xf0\x8f\xbf\xbf\"",
		"\"\xf0\x9f\x98\"",
		"\"\xf4\x90\x80\x80\"",
		"\"\xf5\x80\x80\x80\"",
		"\"\xf8\x88\x80\x80\x80\"",
		"\"\xfc\x84\x80\x80\x80\x80\"",
		"\"\xfe\"",
		"\"\xff\"",
		"{\"\xff\":1}",
		"[\xff]",
		"\xff",
		"\xc3\xa9",
		"\"\xe9\"",
		/* other encodings and byte order marks */
		"\xef\xbb\xbf{}",
		"\xfe\xff\x7b\x7d",
		"\xff\xfe{}",
		/* keys that are there already */
		"{\"a\":1,\"a\":1}",
		"{\"a\":1,\"b\":2,\"a\":3}",
		"{\"\":1,\"\":2}",
		"{\"a\":1,\"\\u0061\":2}",
		"{\"\\u00e9\":1,\"\xc3\xa9\":2}",
		"{\"/\":1,\"\\/\":2}",
		"{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":2}",
		"[{\"x\":{\"k\":1,\"k\":1}}]",
		/* spaces that are none */
		"\v1",
		"\f1",
		"\xc2\xa0\x31",
		"\xe2\x80\x89\x31",
		"1\v",
		"[\f]",
		"\xe3\x80\x80[]",
		"\xe2\x81\xa0{}",
		"\b1",
		/* comments and the like */
		"/*a*/1",
		"//a\n1",
		"#a\n1",
		"1;",
		"=1",
		"*",
		"&a 1",
		"!!a 1",
		/* longer than a number is looked at */
		("1234567890123456789012345678901234567890123456789012345678901"
		 "2"
		 "34"),
		"0."
		"0000000000000000000000000000000000000000000000000000000000000"
		"1",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cleanup_free char *s = complaint(bad[i]);

		cr_expect(ne(ptr, strstr(s, "line "), NULL), "'%s': %s", bad[i],
			  s);
	}
	cr_log_info("%zu documents refused", ARRAY_SIZE(bad));
}

Test(json, refuses_nul_bytes_anywhere)
{
	cr_assert(eq(int, accepts("{}\0", 3), -EINVAL));
	cr_assert(eq(int, accepts("\0{}", 3), -EINVAL));
	cr_assert(eq(int, accepts("[\0]", 3), -EINVAL));
	cr_assert(eq(int, accepts("\"a\0b\"", 5), -EINVAL));
	cr_assert(eq(int, accepts("{\"a\0\":1}", 8), -EINVAL));
	cr_assert(eq(int, accepts("1\0", 2), -EINVAL));
	cr_assert(eq(int, accepts("\"\\\0\"", 4), -EINVAL));
	cr_assert(eq(int, accepts(NULL, 0), -EINVAL));
}

/* No prefix of a document is one, nor is it read past its end. */
Test(json, every_truncation_is_refused)
{
	static const char doc[] =
		"{\"a\":[1,-2.5e3,true,false,null,\"x\\u00e9\\ud83d\\ude00\"],"
		"\"b\\n\":{\"c\":\"\xc3\xa9\xf0\x9f\x98\x80\"}}";
	size_t n = sizeof(doc) - 1;

	cr_assert(eq(int, accepts(doc, n), 0));
	for (size_t len = 0; len < n; len++) {
		/* On the heap and exact, for the address sanitizer. */
		cleanup_free char *s = xmemdup(doc, len);

		cr_assert(eq(int, accepts(s, len), -EINVAL), "%zu", len);
	}
}

static int nested(char open, char close, size_t depth)
{
	cleanup_strbuf struct strbuf sb = STRBUF_INIT;

	for (size_t i = 0; i < depth; i++) {
		strbuf_addc(&sb, open);
		if (open == '{')
			strbuf_adds(&sb, "\"a\":");
	}
	if (open == '{')
		strbuf_addc(&sb, '0');
	for (size_t i = 0; close && i < depth; i++)
		strbuf_addc(&sb, close);
	return accepts(sb.buf, sb.len);
}

Test(json, depth_is_at_most_32)
{
	cr_assert(eq(int, nested('[', ']', 32), 0));
	cr_assert(eq(int, nested('[', ']', 33), -EINVAL));
	cr_assert(eq(int, nested('{', '}', 32), 0));
	cr_assert(eq(int, nested('{', '}', 33), -EINVAL));
	cr_assert(eq(int, nested('[', '\0', 1000000), -EINVAL));
	cr_assert(eq(int, nested('{', '\0', 500000), -EINVAL));
}

Test(json, values_are_counted)
{
	struct json_limits lim = {.max_bytes = 100, .max_values = 4};
	cleanup_json struct json *a = NULL;
	struct json *b = NULL;

	cr_assert(eq(int, json_parse("[1,2,3]", 7, &lim, &a, NULL), 0));
	cr_assert(
		eq(int, json_parse("[1,[],3,4]", 10, &lim, &b, NULL), -EINVAL));
	cr_assert(
		eq(int,
		   json_parse("{\"a\":{\"b\":{\"c\":{}}}}", 20, &lim, &b, NULL),
		   0));
	json_free(b);
}

Test(json, bytes_are_counted)
{
	struct json_limits lim = {.max_bytes = 7, .max_values = 10};
	cleanup_json struct json *a = NULL;
	struct json *b = NULL;

	cr_assert(eq(int, json_parse("[1,2,3]", 7, &lim, &a, NULL), 0));
	cr_assert(eq(int, json_parse("[1,2,3] ", 8, &lim, &b, NULL), -EINVAL));
}

Test(json, a_bomb_of_zeros_is_refused_by_count)
{
	size_t n = 4 << 20;
	cleanup_free char *s = xmalloc(n);

	for (size_t i = 0; i < n; i++)
		s[i] = i % 2 ? '0' : ',';
	s[0] = '[';
	cr_assert(eq(int, accepts(s, n), -EINVAL));
}

Test(json, says_where_and_what)
{
	static const struct {
		const char *doc, *want;
	} cases[] = {
		{"{\"a\":1,\n \"a\":2}",
		 "line 2, column 5: the key is there already"},
		{"[1,\n\n  x]", "line 3, column 3: a value expected"},
		{"[1 2]", "line 1, column 4: ',' or ']' expected"},
		{"[\"\\u0000\"]", "line 1, column 9: \\u0000 is not allowed"},
		{"", "line 1, column 1: a value expected"},
		{"\"\xff\"", "line 1, column 2: invalid UTF-8"},
		{"{} x", "line 1, column 4: something follows the value"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_free char *s = complaint(cases[i].doc);

		cr_expect(eq(str, s, cases[i].want));
	}
}

Test(json, walks_in_document_order)
{
	cleanup_json struct json *j =
		parsed("{\"b\":1,\"a\":[true,null,\"x\"],\"c\":{}}");
	const struct json *v = json_first(j);

	cr_assert(eq(int, json_type(j), JSON_OBJECT));
	cr_assert(eq(sz, json_count(j), 3));
	cr_assert(eq(str, json_key(v), "b"));
	cr_assert(eq(int, json_type(v), JSON_NUMBER));
	v = json_next(v);
	cr_assert(eq(str, json_key(v), "a"));
	cr_assert(eq(sz, json_count(v), 3));
	cr_assert(eq(int, json_type(json_first(v)), JSON_BOOL));
	cr_assert(eq(int, json_type(json_next(json_first(v))), JSON_NULL));
	v = json_next(v);
	cr_assert(eq(int, json_type(v), JSON_OBJECT));
	cr_assert(eq(sz, json_count(v), 0));
	cr_assert(eq(ptr, json_first(v), NULL));
	cr_assert(eq(ptr, json_next(v), NULL));
}

Test(json, keys_are_told_apart_by_case)
{
	cleanup_json struct json *j = parsed("{\"Key\":\"a\",\"key\":\"b\"}");

	cr_assert(eq(str, json_str(json_get(j, "key")), "b"));
	cr_assert(eq(str, json_str(json_get(j, "Key")), "a"));
	cr_assert(eq(ptr, json_get(j, "KEY"), NULL));
}

Test(json, wrong_types_give_the_default)
{
	cleanup_json struct json *j = parsed("[\"s\",1,true]");
	const struct json *s = json_first(j), *n = json_next(s);
	const struct json *b = json_next(n);
	int64_t v = 7;

	cr_assert(eq(ptr, json_get(j, "a"), NULL));
	cr_assert(eq(ptr, json_get(NULL, "a"), NULL));
	cr_assert(eq(ptr, json_first(s), NULL));
	cr_assert(eq(ptr, json_first(NULL), NULL));
	cr_assert(eq(ptr, (void *)json_str(n), NULL));
	cr_assert(eq(ptr, (void *)json_str(NULL), NULL));
	cr_assert(json_bool(n, true) && !json_bool(NULL, false));
	cr_assert(json_bool(b, false));
	cr_assert(eq(int, json_int(s, &v), -EINVAL));
	cr_assert(eq(int, json_int(NULL, &v), -EINVAL));
	cr_assert(eq(i64, v, 7));
	cr_assert(eq(str, json_number_text(n), "1"));
	cr_assert(eq(ptr, (void *)json_number_text(s), NULL));
}

Test(json, strings_are_decoded)
{
	cleanup_json struct json *j =
		parsed("[\"\\\"\\\\\\/"
		       "\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\xc3\xa9\"]");

	cr_assert(eq(str, json_str(json_first(j)),
		     "\"\\/\b\f\n\r\t\xc3\xa9\xf0\x9f\x98\x80\xc3\xa9"));
}

Test(json, integers_are_exact_or_refused)
{
	static const struct {
		const char *text;
		int r;
		int64_t want;
	} cases[] = {
		{"0", 0, 0},
		{"-0", 0, 0},
		{"9007199254740993", 0, 9007199254740993}, /* 2^53 + 1 */
		{"-9007199254740993", 0, -9007199254740993},
		{"9223372036854775807", 0, INT64_MAX},
		{"-9223372036854775808", 0, INT64_MIN},
		{"9223372036854775808", -EINVAL, 0},
		{"-9223372036854775809", -EINVAL, 0},
		{"18446744073709551616", -EINVAL, 0},
		{"99999999999999999999999999", -EINVAL, 0},
		{"1.0", -EINVAL, 0},
		{"1e3", -EINVAL, 0},
		{"1E0", -EINVAL, 0},
		{"0.5", -EINVAL, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_free char *doc = xasprintf("[%s]", cases[i].text);
		cleanup_json struct json *j = parsed(doc);
		int64_t v = 0;

		cr_expect(eq(int, json_int(json_first(j), &v), cases[i].r),
			  "%s", cases[i].text);
		cr_expect(eq(i64, v, cases[i].want), "%s", cases[i].text);
	}
}

Test(json, each_number_keeps_its_own_text)
{
	cleanup_json struct json *j = parsed(
		"{\"a\":[1,[2,{\"x\":3}],4],\"b\":5,\"c\":{\"d\":[],\"e\":6}}");
	const struct json *a = json_get(j, "a");
	const struct json *in = json_next(json_first(a));

	cr_assert(eq(str, json_number_text(json_first(a)), "1"));
	cr_assert(eq(str, json_number_text(json_first(in)), "2"));
	cr_assert(eq(str,
		     json_number_text(json_get(json_next(json_first(in)), "x")),
		     "3"));
	cr_assert(eq(str, json_number_text(json_next(in)), "4"));
	cr_assert(eq(str, json_number_text(json_get(j, "b")), "5"));
	cr_assert(eq(str, json_number_text(json_get(json_get(j, "c"), "e")),
		     "6"));
}

Test(json, needed_members_name_what_is_wrong)
{
	cleanup_json struct json *j = parsed(
		"{\"s\":\"x\",\"n\":5,\"neg\":-1,\"f\":1.5,\"a\":[],\"o\":{}}");
	cleanup_error struct error *err = NULL;
	const struct json *v = NULL;
	const char *s = NULL;
	uint64_t n = 0;

	cr_assert(eq(int, json_need_str(j, "s", &s, NULL), 0));
	cr_assert(eq(str, s, "x"));
	cr_assert(eq(int, json_need_size(j, "n", &n, NULL), 0));
	cr_assert(eq(u64, n, 5));
	cr_assert(eq(int, json_need_array(j, "a", &v, NULL), 0));
	cr_assert(eq(int, json_need_object(j, "o", &v, NULL), 0));

	cr_assert(eq(int, json_need_str(j, "n", &s, &err), -EINVAL));
	cr_assert(eq(str, err->message, "'n' is not a string"));
	error_freep(&err);
	cr_assert(eq(int, json_need_str(j, "zz", &s, &err), -EINVAL));
	cr_assert(eq(str, err->message, "'zz' is missing"));
	cr_assert(eq(int, json_need_size(j, "neg", &n, NULL), -EINVAL));
	cr_assert(eq(int, json_need_size(j, "f", &n, NULL), -EINVAL));
	cr_assert(eq(int, json_need_size(j, "s", &n, NULL), -EINVAL));
	cr_assert(eq(int, json_need_array(j, "o", &v, NULL), -EINVAL));
	cr_assert(eq(int, json_need_object(j, "a", &v, NULL), -EINVAL));
	cr_assert(eq(int, json_need_object(NULL, "a", &v, NULL), -EINVAL));
}
