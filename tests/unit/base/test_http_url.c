#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strbuf.h"
#include "base/uri.h"

static struct http_url parsed(const char *s)
{
	struct http_url u = {0};

	cr_assert(eq(int, http_url_parse(s, &u, NULL), 0), "%s", s);
	return u;
}

Test(http_url, is_taken_apart)
{
	cleanup_http_url struct http_url u =
		parsed("HTTPS://Registry.Example.COM:5000/v2/a%2Fb?q=1&r#frag");

	cr_assert(u.tls);
	cr_assert(eq(str, u.host, "registry.example.com"));
	cr_assert(eq(u16, u.port, 5000));
	cr_assert(eq(str, u.path, "/v2/a%2Fb"));
	cr_assert(eq(str, u.query, "q=1&r"));
}

Test(http_url, prints_its_one_form)
{
	static const struct {
		const char *in, *want;
	} cases[] = {
		{"http://a", "http://a/"},
		{"http://a:80/", "http://a/"},
		{"https://a:443", "https://a/"},
		{"https://a:80", "https://a:80/"},
		{"http://a:443/x", "http://a:443/x"},
		{"http://a:/x", "http://a/x"},
		{"http://A.B?q", "http://a.b/?q"},
		{"http://a?", "http://a/?"},
		{"http://a#f", "http://a/"},
		{"http://a/x#f?g", "http://a/x"},
		{"http://a/x?y?z#w", "http://a/x?y?z"},
		{"http://[::1]:5000/x", "http://[::1]:5000/x"},
		{"http://[0:0:0:0:0:0:0:1]/", "http://[::1]/"},
		{"https://[2001:DB8::A]", "https://[2001:db8::a]/"},
		{"http://127.0.0.1:65535/", "http://127.0.0.1:65535/"},
		{"http://a/\xc3\xa9|\"", "http://a/%C3%A9%7C%22"},
		{"http://a/b\\c?d^e", "http://a/b%5Cc?d%5Ee"},
		{"http://a_b/", "http://a_b/"},
		{"http://a/../b", "http://a/../b"},
		{"http://a/@b:c", "http://a/@b:c"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_http_url struct http_url u = parsed(cases[i].in);
		cleanup_free char *s = http_url_str(&u);

		cr_expect(eq(str, s, cases[i].want));
	}
}

Test(http_url, refuses_what_could_mean_another_host)
{
	static const char *const bad[] = {
		"",
		"http",
		"http:",
		"http:/a",
		"http:a",
		"://a",
		"//a/",
		"/a",
		"a",
		"ftp://a/",
		"file:///etc/passwd",
		"gopher://a/",
		"javascript:alert(1)",
		"httpx://a",
		"http//a",
		"https:/a",
		"http://",
		"http:///",
		"http://?",
		"http://#",
		"http://:80/",
		"http://u@a/",
		"http://u:p@a/",
		"http://@a/",
		"http://a@b@c/",
		"http://a:80@b/",
		"http://a b/",
		"http://a/ b",
		" http://a",
		"http://a\n",
		"http://a/\r\nHost: b",
		"http://a/\t",
		"http://a\x7f/",
		"http://a/\x01",
		"http://a\\b/",
		"http://a\\@b/",
		"http://a%00/",
		"http://a%2eb/",
		"http://\xc3\xa9/",
		"http://a;b/",
		"http://a,b/",
		"http://a|b/",
		"http://[::1",
		"http://::1/",
		"http://[::1]x/",
		"http://[]/",
		"http://[1.2.3.4]/",
		"http://[fe80::1%25eth0]/",
		"http://[::g]/",
		"http://[::1]:/x:",
		"http://[[::1]]/",
		"http://]/",
		"http://a:0/",
		"http://a:65536/",
		"http://a:99999/",
		"http://a:000080/",
		"http://a:8o/",
		"http://a:-1/",
		"http://a:+1/",
		"http://a:80:80/",
		"http://a: 80/",
		"http://a:0x50/",
		"http://(a)/",
		"http://a!/",
		"http://<a>/",
		"http://{a}/",
		"http://./",
		"http://.a/",
		"http://a../",
		"http://a..b/",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct http_url u = {0};
		int r = http_url_parse(bad[i], &u, NULL);

		/* An empty port is the scheme's own, as RFC 3986 has it. */
		if (!strcmp(bad[i], "http://[::1]:/x:")) {
			cr_expect(eq(int, r, 0));
			http_url_release(&u);
			continue;
		}
		cr_expect(eq(int, r, -EINVAL), "'%s'", bad[i]);
	}
}

Test(http_url, lengths_are_limited)
{
	cleanup_strbuf struct strbuf sb = STRBUF_INIT, host = STRBUF_INIT;
	cleanup_http_url struct http_url u = {0}, v = {0};

	strbuf_adds(&sb, "http://a/");
	while (sb.len < 16384)
		strbuf_addc(&sb, 'x');
	cr_assert(eq(int, http_url_parse(sb.buf, &u, NULL), 0));
	strbuf_addc(&sb, 'x');
	cr_assert(eq(int, http_url_parse(sb.buf, &v, NULL), -EINVAL));
	strbuf_adds(&host, "http://");
	while (host.len < 7 + 253)
		strbuf_addc(&host, 'a');
	cr_assert(eq(int, http_url_parse(host.buf, &v, NULL), 0));
	strbuf_addc(&host, 'a');
	cr_assert(eq(int, http_url_parse(host.buf, &(struct http_url){0}, NULL),
		     -EINVAL));
}

static char *resolved(const char *base, const char *ref)
{
	cleanup_http_url struct http_url b = parsed(base), u = {0};

	if (http_url_resolve(&b, ref, &u, NULL) < 0)
		return xstrdup("refused");
	return http_url_str(&u);
}

/* The examples of RFC 3986 section 5.4 that can come out as http. */
Test(http_url, resolves_as_the_rfc_says)
{
	static const struct {
		const char *ref, *want;
	} cases[] = {
		{"g:h", "refused"},
		{"g", "http://a/b/c/g"},
		{"./g", "http://a/b/c/g"},
		{"g/", "http://a/b/c/g/"},
		{"/g", "http://a/g"},
		{"//g", "http://g/"},
		{"?y", "http://a/b/c/d;p?y"},
		{"g?y", "http://a/b/c/g?y"},
		{"#s", "http://a/b/c/d;p?q"},
		{"g#s", "http://a/b/c/g"},
		{"g?y#s", "http://a/b/c/g?y"},
		{";x", "http://a/b/c/;x"},
		{"g;x", "http://a/b/c/g;x"},
		{"", "http://a/b/c/d;p?q"},
		{".", "http://a/b/c/"},
		{"./", "http://a/b/c/"},
		{"..", "http://a/b/"},
		{"../", "http://a/b/"},
		{"../g", "http://a/b/g"},
		{"../..", "http://a/"},
		{"../../", "http://a/"},
		{"../../g", "http://a/g"},
		{"../../../g", "http://a/g"},
		{"../../../../g", "http://a/g"},
		{"/./g", "http://a/g"},
		{"/../g", "http://a/g"},
		{"g.", "http://a/b/c/g."},
		{".g", "http://a/b/c/.g"},
		{"g..", "http://a/b/c/g.."},
		{"..g", "http://a/b/c/..g"},
		{"./../g", "http://a/b/g"},
		{"./g/.", "http://a/b/c/g/"},
		{"g/./h", "http://a/b/c/g/h"},
		{"g/../h", "http://a/b/c/h"},
		{"g;x=1/./y", "http://a/b/c/g;x=1/y"},
		{"g;x=1/../y", "http://a/b/c/y"},
		{"g?y/./x", "http://a/b/c/g?y/./x"},
		{"g?y/../x", "http://a/b/c/g?y/../x"},
		{"https://x/y/../z?q", "https://x/z?q"},
		{"HTTP://X:80", "http://x/"},
		{"//x:81/y", "http://x:81/y"},
		{"//u@x/y", "refused"},
		{"/a b", "refused"},
		{"/a\r\nX: y", "refused"},
		{"ftp://x/", "refused"},
		{"/\\x", "http://a/%5Cx"},
		{"\\\\x\\y", "http://a/b/c/%5C%5Cx%5Cy"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_free char *s =
			resolved("http://a/b/c/d;p?q", cases[i].ref);

		cr_expect(eq(str, s, cases[i].want), "'%s'", cases[i].ref);
	}
}

Test(http_url, a_relative_reference_keeps_the_origin)
{
	cleanup_free char *a = resolved("https://a:5000", "x");
	cleanup_free char *b = resolved("https://[::1]:5000/v2/", "//b/x");

	cr_assert(eq(str, a, "https://a:5000/x"));
	cr_assert(eq(str, b, "https://b/x"));
}

Test(http_url, redacts_the_query)
{
	cleanup_http_url struct http_url u =
		parsed("https://a:5000/x?X-Amz-Signature=canary");
	cleanup_http_url struct http_url v = parsed("http://a/x");
	cleanup_free char *s = http_url_redacted(&u);
	cleanup_free char *t = http_url_redacted(&v);

	cr_assert(eq(str, s, "https://a:5000/x?<redacted>"));
	cr_assert(eq(str, t, "http://a/x"));
}

Test(http_url, origin_is_scheme_host_and_port)
{
	static const struct {
		const char *a, *b;
		bool same;
	} cases[] = {
		{"https://a/x", "https://A:443/y?z", true},
		{"http://a", "http://a:80", true},
		{"http://a", "https://a", false},
		{"http://a:443", "https://a", false},
		{"https://a", "https://a:444", false},
		{"https://a", "https://a.b", false},
		{"http://[::1]", "http://[0::1]", true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_http_url struct http_url a = parsed(cases[i].a);
		cleanup_http_url struct http_url b = parsed(cases[i].b);

		cr_expect(eq(int, http_url_same_origin(&a, &b), cases[i].same),
			  "%s, %s", cases[i].a, cases[i].b);
	}
}

Test(http_url, what_is_no_url_is_shown_without_secrets)
{
	static const struct {
		const char *s, *shown;
	} cases[] = {
		{"h.example:5000/x", "h.example:5000/x"},
		{"https://user:hunter2@h/x", "…@h/x"},
		{"user:hunt@er2@h", "…@h"},
		{"a=http://u:hunter2@b,c=http://u:hunter2@d", "…@d"},
		{"https://h/x?sig=hunter2", "https://h/x?…"},
		{"u:hunter2?@h?hunter2", "…@h?…"},
		{"", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_free char *s = uri_without_secrets(cases[i].s);

		cr_expect(eq(str, s, (char *)cases[i].shown));
	}
}
