#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"

static struct strbuf out;
static struct json_writer w;

static void set_up(void)
{
	strbuf_reset(&out);
	json_writer_init(&w, &out);
}

static void tear_down(void)
{
	strbuf_release(&out);
}

TestSuite(json_write, .init = set_up, .fini = tear_down);

Test(json_write, writes_all_kinds_without_a_space)
{
	json_begin_object(&w, NULL);
	json_begin_array(&w, "array");
	json_put_int(&w, NULL, INT64_MIN);
	json_put_int(&w, NULL, INT64_MAX);
	json_begin_object(&w, NULL);
	json_end_object(&w);
	json_begin_array(&w, NULL);
	json_end_array(&w);
	json_end_array(&w);
	json_put_bool(&w, "bool", true);
	json_put_base64(&w, "data", "foob", 4);
	json_put_null(&w, "null");
	json_begin_object(&w, "object");
	json_put_bool(&w, "b", false);
	json_end_object(&w);
	json_put_str(&w, "str", "x");
	json_end_object(&w);
	cr_assert(eq(str, strbuf_str(&out),
		     "{\"array\":[-9223372036854775808,9223372036854775807,{},"
		     "[]],\"bool\":true,\"data\":\"Zm9vYg==\",\"null\":null,"
		     "\"object\":{\"b\":false},\"str\":\"x\"}"));
}

Test(json_write, a_document_may_be_one_value)
{
	json_put_int(&w, NULL, -5);
	cr_assert(eq(str, strbuf_str(&out), "-5"));
}

Test(json_write, escapes_what_must_be_and_nothing_else)
{
	json_put_str(&w, NULL,
		     "\"\\/\b\f\n\r\t\x01\x1f\x7f<>&'\xc3\xa9\xe2\x80\xa8"
		     "\xf0\x9f\x98\x80");
	cr_assert(eq(str, strbuf_str(&out),
		     "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f<>&'\xc3\xa9"
		     "\xe2\x80\xa8\xf0\x9f\x98\x80\""));
}

Test(json_write, ascii_mode_is_safe_on_a_terminal)
{
	w.ascii = true;
	json_put_str(&w, NULL, "a\x7f\xc2\x9b\xe2\x80\xae\xf0\x9f\x98\x80\n\"");
	cr_assert(eq(str, strbuf_str(&out),
		     "\"a\\u007f\\u009b\\u202e\\ud83d\\ude00\\n\\\"\""));
}

Test(json_write, orders_keys_by_bytes)
{
	json_begin_object(&w, NULL);
	json_put_int(&w, "", 0);
	json_put_int(&w, "A", 0);
	json_put_int(&w, "a", 0);
	json_put_int(&w, "a-b", 0);
	json_put_int(&w, "a/b", 0);
	json_put_int(&w, "ab", 0);
	json_put_int(&w, "\xc3\xa9", 0);
	json_put_int(&w, "\xf0\x9f\x98\x80", 0);
	json_end_object(&w);
	cr_assert(eq(int, w.depth, 0));
}

Test(json_write, aborts_on_a_key_out_of_order, .signal = SIGABRT)
{
	json_begin_object(&w, NULL);
	json_put_int(&w, "b", 0);
	json_put_int(&w, "a", 0);
}

Test(json_write, aborts_on_a_key_that_is_there, .signal = SIGABRT)
{
	json_begin_object(&w, NULL);
	json_put_int(&w, "a", 0);
	json_put_int(&w, "a", 0);
}

Test(json_write, aborts_on_a_member_without_a_key, .signal = SIGABRT)
{
	json_begin_object(&w, NULL);
	json_put_int(&w, NULL, 0);
}

Test(json_write, aborts_on_a_key_in_an_array, .signal = SIGABRT)
{
	json_begin_array(&w, NULL);
	json_put_int(&w, "a", 0);
}

Test(json_write, aborts_on_the_wrong_end, .signal = SIGABRT)
{
	json_begin_array(&w, NULL);
	json_end_object(&w);
}

Test(json_write, aborts_on_an_end_too_many, .signal = SIGABRT)
{
	json_end_object(&w);
}

Test(json_write, aborts_on_what_is_not_utf_8, .signal = SIGABRT)
{
	json_put_str(&w, NULL, "\xff");
}

static const char *canonical(const char *text)
{
	cleanup_json struct json *j = NULL;

	cr_assert(eq(int,
		     json_parse(text, strlen(text), &JSON_LIMITS_DOC, &j, NULL),
		     0));
	json_put_value(&w, NULL, j);
	return strbuf_str(&out);
}

Test(json_write, a_parsed_value_becomes_canonical)
{
	cr_assert(eq(str,
		     canonical(" { \"b\" : [ 1 , -0, 1.50, 1e+2, "
			       "12345678901234567890, true, null ],"
			       "\"\\u00e9\":{\"z\":\"\\u0041\\/\",\"A\":{}},"
			       "\"a\":false}"),
		     "{\"a\":false,\"b\":[1,0,1.50,1e+2,12345678901234567890,"
		     "true,null],\"\xc3\xa9\":{\"A\":{},\"z\":\"A/\"}}"));
}

Test(json_write, the_deepest_document_fits_into_one_of_ours)
{
	cleanup_strbuf struct strbuf deep = STRBUF_INIT;
	cleanup_json struct json *j = NULL;

	for (int i = 0; i < JSON_MAX_DEPTH; i++)
		strbuf_addc(&deep, '[');
	for (int i = 0; i < JSON_MAX_DEPTH; i++)
		strbuf_addc(&deep, ']');
	cr_assert(eq(int,
		     json_parse(deep.buf, deep.len, &JSON_LIMITS_DOC, &j, NULL),
		     0));
	for (int i = 0; i < JSON_MAX_DEPTH; i++)
		json_begin_array(&w, NULL);
	json_put_value(&w, NULL, j);
	for (int i = 0; i < JSON_MAX_DEPTH; i++)
		json_end_array(&w);
	cr_assert(eq(sz, out.len, 4 * JSON_MAX_DEPTH));
}
