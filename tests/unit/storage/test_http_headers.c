#include "storage/http_headers.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "base/alloc.h"

static void add(struct http_headers *h, const char *line)
{
	http_headers_add(h, line, strlen(line));
}

Test(http_headers, names_are_found_in_lower_case_and_the_first_counts)
{
	struct http_headers h = {0};

	add(&h, "Content-TYPE:  text/plain \t");
	add(&h, "X-A:1");
	add(&h, "x-a: 2");
	add(&h, "Empty:");
	cr_expect(eq(str, http_header_find(h.v, h.n, "content-type"),
		     "text/plain"));
	cr_expect(eq(str, http_header_find(h.v, h.n, "x-a"), "1"));
	cr_expect(eq(str, http_header_find(h.v, h.n, "empty"), ""));
	cr_expect(eq(ptr, (void *)http_header_find(h.v, h.n, "x-b"), NULL));
	http_headers_release(&h);
}

Test(http_headers, lines_that_are_no_fields_are_dropped)
{
	struct http_headers h = {0};

	add(&h, "no colon");
	add(&h, ": no name");
	add(&h, "bl ank: x");
	add(&h, " folded: x");
	http_headers_add(&h, "a: b\0c", 6);
	cr_expect(eq(sz, h.n, 0));
	http_headers_release(&h);
}

Test(http_headers, content_range_is_taken_apart)
{
	struct content_range r;

	cr_assert(http_parse_content_range("bytes 5-9/100", &r));
	cr_expect(eq(u64, r.first, 5));
	cr_expect(eq(u64, r.last, 9));
	cr_expect(eq(u64, r.total, 100));
	cr_assert(http_parse_content_range("Bytes  0-0/*", &r));
	cr_expect(eq(u64, r.total, UINT64_MAX));
	cr_assert(http_parse_content_range(
		"bytes 0-9223372036854775806/9223372036854775807", &r));
}

Test(http_headers, malformed_content_ranges_are_refused)
{
	static const char *const bad[] = {
		"",
		"bytes",
		"bytes ",
		"bytes 5-9",
		"bytes 5-9/",
		"bytes */100",
		"bytes 9-5/100",
		"bytes 5-100/100",
		"bytes -5/100",
		"bytes 5-/100",
		"items 5-9/100",
		"bytes=5-9/100",
		"bytes 5-9/100 ",
		"bytes 5-9/100x",
		"bytes +5-9/100",
		"bytes 5-9/-1",
		"bytes 5 -9/100",
		"bytes 0x5-9/100",
		"bytes 0-9223372036854775808/*",
		"bytes 5-9/**",
		"bytes 99999999999999999999-99999999999999999999/*",
		"bytes5-9/100",
		"bytes 5-9/100, 3-4/100",
	};
	struct content_range r;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect(not(http_parse_content_range(bad[i], &r)), "'%s'",
			  bad[i]);
}

Test(http_headers, lengths_are_plain_decimals)
{
	uint64_t v;

	cr_assert(http_parse_length("9223372036854775807", &v));
	cr_expect(eq(u64, v, INT64_MAX));
	cr_assert(http_parse_length("007", &v));
	cr_expect(eq(u64, v, 7));
	cr_expect(not(http_parse_length("9223372036854775808", &v)));
	cr_expect(not(http_parse_length("18446744073709551617", &v)));
	cr_expect(not(http_parse_length("", &v)));
	cr_expect(not(http_parse_length("-1", &v)));
	cr_expect(not(http_parse_length("+1", &v)));
	cr_expect(not(http_parse_length("1,1", &v)));
	cr_expect(not(http_parse_length("0x10", &v)));
	cr_expect(not(http_parse_length(" 1", &v)));
}

Test(http_headers, retry_after_is_seconds_or_a_date)
{
	const int64_t now = 1700000000; /* Tue, 14 Nov 2023 22:13:20 GMT */

	cr_expect(eq(i64, http_parse_retry_after("0", now), 0));
	cr_expect(eq(i64, http_parse_retry_after("120", now), 120000));
	cr_expect(
		eq(i64, http_parse_retry_after("99999999999", now), 86400000));
	cr_expect(
		eq(i64,
		   http_parse_retry_after("Tue, 14 Nov 2023 22:14:20 GMT", now),
		   60000));
	cr_expect(
		eq(i64,
		   http_parse_retry_after("Tue, 14 Nov 2023 22:00:00 GMT", now),
		   0));
	cr_expect(
		eq(i64,
		   http_parse_retry_after("Fri, 31 Dec 2099 23:59:59 GMT", now),
		   86400000));
	cr_expect(eq(i64, http_parse_retry_after("soon", now), -1));
	cr_expect(eq(i64, http_parse_retry_after("", now), -1));
	cr_expect(eq(i64, http_parse_retry_after("12s", now), -1));
	cr_expect(eq(i64, http_parse_retry_after("-5", now), -1));
}

static void expect_type(const char *in, const char *want)
{
	cleanup_free char *got = http_media_type(in);

	if (want)
		cr_expect(eq(str, got ? got : "(none)", want), "%s", in);
	else
		cr_expect(eq(ptr, got, NULL), "%s", in ? in : "NULL");
}

Test(http_headers, media_types_lose_their_parameters)
{
	expect_type("application/json", "application/json");
	expect_type(" Application/JSON ; charset=utf-8", "application/json");
	expect_type("a/b;", "a/b");
	expect_type("application/vnd.oci.image.manifest.v1+json",
		    "application/vnd.oci.image.manifest.v1+json");
	expect_type(NULL, NULL);
	expect_type("", NULL);
	expect_type("json", NULL);
	expect_type("/json", NULL);
	expect_type("a/", NULL);
	expect_type("a/b c", NULL);
	expect_type("a/b, c/d", NULL);
}

static void expect_next(const char *in, const char *want)
{
	cleanup_free char *got = http_link_next(in);

	if (want)
		cr_expect(eq(str, got ? got : "(none)", want), "%s", in);
	else
		cr_expect(eq(ptr, got, NULL), "%s", in);
}

Test(http_headers, the_next_link_is_found)
{
	expect_next("</v2/x/tags/list?n=2&last=b>; rel=\"next\"",
		    "/v2/x/tags/list?n=2&last=b");
	expect_next("<u>;rel=next", "u");
	expect_next("<u> ; REL = \"prev NEXT\"", "u");
	expect_next("<a>; rel=prev, <b,c;d>; title=\"x, <y>; rel=next\"; "
		    "rel=next",
		    "b,c;d");
	expect_next("<a>; title=\"q\\\"uote\"; rel=next", "a");
	expect_next(", ,<a>;;rel=next", "a");
	expect_next("<a>; rel=prev; rel=next", NULL);
	expect_next("<a>", NULL);
	expect_next("<a>; rel=\"next", NULL);
	expect_next("<a; rel=next", NULL);
	expect_next("a; rel=next", NULL);
	expect_next("<a>; rel=nextish", NULL);
	expect_next("<a> rel=next", NULL);
	expect_next("", NULL);
}

Test(http_headers, warnings_of_code_299_have_a_text)
{
	cleanup_free char *a = http_warning_text("299 - \"be \\\"good\\\"\"");
	cleanup_free char *b = http_warning_text("199 - \"x\"");
	cleanup_free char *c = http_warning_text("299 - \"open");

	cr_expect(eq(str, a ? a : "", "be \"good\""));
	cr_expect(eq(ptr, b, NULL));
	cr_expect(eq(ptr, c, NULL));
}
