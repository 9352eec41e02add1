#include "base/uri.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strbuf.h"

static int parse(const char *s)
{
	cleanup_pointer_uri struct pointer_uri u = {0};

	return pointer_uri_parse(s, strlen(s), &u, NULL);
}

Test(pointer_uri, is_taken_apart_and_decoded)
{
	static const struct {
		const char *s;
		enum uri_scheme scheme;
		const char *account, *container, *key;
	} cases[] = {
		{"s3://bucket/key", URI_S3, NULL, "bucket", "key"},
		{"s3://my.bucket-1/a/b%20c", URI_S3, NULL, "my.bucket-1",
		 "a/b c"},
		{"s3://bucket/a//b", URI_S3, NULL, "bucket", "a//b"},
		{"s3://bucket/%C3%A9", URI_S3, NULL, "bucket", "\xc3\xa9"},
		{"s3://bucket/a%25b%3Fc%23d%2Be", URI_S3, NULL, "bucket",
		 "a%b?c#d+e"},
		{"gs://b_u-c.k/~-._x", URI_GS, NULL, "b_u-c.k", "~-._x"},
		{"az://account1/cont-1/k/e/y", URI_AZ, "account1", "cont-1",
		 "k/e/y"},
		{"az://account1/%24root/key", URI_AZ, "account1", "$root",
		 "key"},
		{"file:///a/b%20c", URI_FILE, NULL, NULL, "/a/b c"},
		{"file:///...", URI_FILE, NULL, NULL, "/..."},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_pointer_uri struct pointer_uri u = {0};
		const char *s = cases[i].s;

		cr_assert(eq(int, pointer_uri_parse(s, strlen(s), &u, NULL), 0),
			  "%s", s);
		cr_expect(eq(int, u.scheme, cases[i].scheme));
		cr_expect(eq(str, u.key, cases[i].key));
		cr_expect(eq(int, !u.account, !cases[i].account));
		cr_expect(eq(int, !u.container, !cases[i].container));
		if (u.account)
			cr_expect(eq(str, u.account, cases[i].account));
		if (u.container)
			cr_expect(eq(str, u.container, cases[i].container));
	}
}

Test(pointer_uri, readers_refuse_everything_else)
{
	static const char *const bad[] = {
		"",
		"s3",
		"s3:",
		"s3:/",
		"s3://",
		"s3://b",
		"s3://bucket",
		"s3://bucket/",
		"s3:///key",
		"s3:bucket/key",
		"s3:/bucket/key",
		"S3://bucket/key",
		"s3a://bucket/key",
		"http://bucket/key",
		"https://bucket.s3.amazonaws.com/key",
		"ftp://bucket/key",
		"s4://bucket/key",
		"//bucket/key",
		"/etc/passwd",
		"bucket/key",
		" s3://bucket/key",
		"s3://bucket/key ",
		"s3://bucket/a b",
		"s3://bucket/key\n",
		"s3://bucket/a\tb",
		"s3://bucket/\xc3\xa9",
		/* query, fragment, user, port */
		"s3://bucket/key?versionId=1",
		"s3://bucket/key?",
		"s3://bucket/key#a",
		"s3://bucket/key#",
		"s3://u@bucket/key",
		"s3://u:p@bucket/key",
		"s3://bucket:443/key",
		"s3://bucket?/k",
		/* not normal */
		"s3://bucket/%6bey",
		"s3://bucket/%6Bey",
		"s3://bucket/a%2fb",
		"s3://bucket/a%2Fb",
		"s3://bucket/%c3%a9",
		"s3://bucket/%7E",
		"s3://bucket/a+b",
		"s3://bucket/a:b",
		"s3://bucket/a@b",
		"s3://bucket/a&b",
		"s3://bucket/a=b",
		"s3://bucket/a,b",
		"s3://bucket/a;b",
		"s3://bucket/a$b",
		"s3://bucket/a!b",
		"s3://bucket/a*b",
		"s3://bucket/(a)",
		"s3://bucket/'a'",
		"s3://bucket/[a]",
		"s3://bucket/a\"b",
		"s3://bucket/a\\b",
		"s3://%62ucket/key",
		"s3://bucket%2Fkey/x",
		/* escapes that are none */
		"s3://bucket/%",
		"s3://bucket/%2",
		"s3://bucket/%zz",
		"s3://bucket/a%",
		"s3://bucket/%%20",
		"s3://bucket/%2%20",
		"s3://bucket/%+2",
		"s3://bucket/% 2",
		/* bytes that no key has */
		"s3://bucket/%00",
		"s3://bucket/a%00b",
		"s3://bucket/%0A",
		"s3://bucket/%0D%0AHost%3A%20x",
		"s3://bucket/%7F",
		"s3://bucket/%1B",
		"s3://bucket/%FF",
		"s3://bucket/%C3",
		"s3://bucket/%ED%A0%80",
		"s3://bucket/%C0%AF",
		/* segments that someone on the way may resolve */
		"s3://bucket/.",
		"s3://bucket/..",
		"s3://bucket/../other/key",
		"s3://bucket/a/../b",
		"s3://bucket/a/./b",
		"s3://bucket/a/..",
		"s3://bucket/%2E%2E/a",
		"gs://bucket/../a",
		"az://acc/con/../a",
		/* buckets */
		"s3://ab/key",
		"s3://-ab/key",
		"s3://ab-/key",
		"s3://.ab/key",
		"s3://a..b/key",
		"s3://a%20b/key",
		"s3://a%00b/key",
		"s3://buck%C3%A9t/key",
		"s3://$root/key",
		"s3://%24root/key",
		"s3://../key",
		"s3://./key",
		"gs://a/key",
		"gs://a!b/key",
		/* accounts and containers */
		"az://account/key",
		"az://account/container",
		"az://account/container/",
		"az:///container/key",
		"az://ab/container/key",
		"az://Account/container/key",
		"az://acc-ount/container/key",
		"az://account//key",
		"az://account.blob.core.windows.net/container/key",
		"az://abcdefghijklmnopqrstuvwxy/container/key",
		"az://account/$root/key",
		"az://account/%24x/key",
		"az://account/co/key",
		"az://acc%6Funt/container/key",
		/* files */
		"file://",
		"file:///",
		"file://a",
		"file://localhost/a",
		"file:a",
		"file:/a",
		"file:////a",
		"file:///a/",
		"file:///a//b",
		"file:///a/../b",
		"file:///..",
		"file:///.",
		"file:///a/.",
		"file://%2Fa",
		"file:///%00",
		"file:///a%2Fb",
		"FILE:///a",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect(eq(int, parse(bad[i]), -EINVAL), "'%s'", bad[i]);
	cr_expect(eq(int,
		     pointer_uri_parse("s3://bucket/a\0b", 15,
				       &(struct pointer_uri){0}, NULL),
		     -EINVAL));
}

Test(pointer_uri, length_is_limited)
{
	cleanup_strbuf struct strbuf sb = STRBUF_INIT;

	strbuf_adds(&sb, "s3://bucket/");
	while (sb.len < 4096)
		strbuf_addc(&sb, 'x');
	cr_assert(eq(int, parse(sb.buf), 0));
	strbuf_addc(&sb, 'x');
	cr_assert(eq(int, parse(sb.buf), -EINVAL));
}

Test(pointer_uri, writers_are_helped_to_the_normal_form)
{
	static const struct {
		const char *in, *want;
	} cases[] = {
		{"s3://bucket/key", "s3://bucket/key"},
		{"S3://bucket/a b", "s3://bucket/a%20b"},
		{"s3://bucket/a%20b", "s3://bucket/a%20b"},
		{"s3://bucket/%6bey%7e", "s3://bucket/key~"},
		{"s3://bucket/é+:@", "s3://bucket/%C3%A9%2B%3A%40"},
		{"s3://bucket/a%2fb", "s3://bucket/a/b"},
		{"gs://bucket/%3F", "gs://bucket/%3F"},
		{"az://account/$web/x", "az://account/%24web/x"},
		{"File:///a/b c", "file:///a/b%20c"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_free char *s = NULL;

		cr_assert(eq(int, pointer_uri_normalize(cases[i].in, &s, NULL),
			     0),
			  "%s", cases[i].in);
		cr_expect(eq(str, s, cases[i].want));
		cr_expect(eq(int, parse(s), 0), "%s", s);
	}
}

Test(pointer_uri, writers_cannot_pass_what_has_no_normal_form)
{
	static const char *const bad[] = {
		"",
		"s3://bucket",
		"s3://bucket/",
		"s3://bucket/a?b",
		"s3://bucket/a#b",
		"s3://bucket/100%",
		"s3://u:p@bucket/a",
		"s3://bucket/../a",
		"s3://bucket/%2e%2e/a",
		"s3://bucket/\xff",
		"s3://bucket/a\nb",
		"file://host/a",
		"http://bucket/a",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char *s = NULL;

		cr_expect(eq(int, pointer_uri_normalize(bad[i], &s, NULL),
			     -EINVAL),
			  "'%s'", bad[i]);
		cr_expect(eq(ptr, s, NULL));
	}
}

Test(pointer_uri, the_normal_form_is_bounded_too)
{
	cleanup_strbuf struct strbuf sb = STRBUF_INIT;
	char *s = NULL;

	strbuf_adds(&sb, "s3://bucket/");
	while (sb.len < 2000)
		strbuf_addc(&sb, ' ');
	cr_assert(eq(int, pointer_uri_normalize(sb.buf, &s, NULL), -EINVAL));
	cr_assert(eq(ptr, s, NULL));
}

Test(pointer_uri, messages_show_no_secret)
{
	static const char *const bad[] = {
		"s3://bucket/key?X-Amz-Signature=canary",
		"s3://bucket/key#canary",
		"s3://id:canary@bucket/key",
		"https://id:canary@bucket/key?canary",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cleanup_error struct error *err = NULL;
		cleanup_pointer_uri struct pointer_uri u = {0};

		pointer_uri_parse(bad[i], strlen(bad[i]), &u, &err);
		cr_expect(eq(ptr, strstr(err->message, "canary"), NULL), "%s",
			  err->message);
	}
}

Test(uri, encodes_all_but_the_unreserved)
{
	cleanup_strbuf struct strbuf a = STRBUF_INIT, b = STRBUF_INIT;

	uri_encode(&a, "aZ0-._~/ +%\xff\0", 13, true);
	cr_assert(eq(str, a.buf, "aZ0-._~/%20%2B%25%FF%00"));
	uri_encode(&b, "a/b", 3, false);
	cr_assert(eq(str, b.buf, "a%2Fb"));
	cr_assert(eq(str, uri_scheme_name(URI_AZ), "az"));
}
