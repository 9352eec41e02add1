#include "storage/http_proxy.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

static void set_up(void)
{
	static const char *const names[] = {"https_proxy", "HTTPS_PROXY",
					    "http_proxy",  "HTTP_PROXY",
					    "all_proxy",   "ALL_PROXY",
					    "no_proxy",    "NO_PROXY"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unsetenv(names[i]);
}

TestSuite(http_proxy, .init = set_up);

static const struct {
	const char *list;
	const char *host;
	uint16_t port;
	bool has;
} lists[] = {
	{"*", "anything", 80, true},
	{"", "h", 80, false},
	{", ,,", "h", 80, false},
	{"example.com", "example.com", 443, true},
	{"example.com", "EXAMPLE.com", 443, true},
	{"example.com", "a.example.com", 443, true},
	{"example.com", "a.example.com.", 443, true},
	{".example.com", "a.example.com", 443, true},
	{".example.com", "example.com", 443, true},
	{"example.com", "badexample.com", 443, false},
	{"example.com", "example.com.evil", 443, false},
	{"a, b\tc", "c", 443, true},
	{"h:5000", "h", 5000, true},
	{"h:5000", "h", 5001, false},
	{"h:99999", "h", 5000, false},
	{"10.0.0.0/8", "10.255.1.2", 80, true},
	{"10.0.0.0/8", "11.0.0.1", 80, false},
	{"10.0.0.0/8", "ten.example", 80, false},
	{"192.168.1.128/25", "192.168.1.200", 80, true},
	{"192.168.1.128/25", "192.168.1.100", 80, false},
	{"0.0.0.0/0", "8.8.8.8", 80, true},
	{"0.0.0.0/0", "::1", 80, false},
	{"fd00::/8", "fd12::1", 80, true},
	{"fd00::/8", "fe00::1", 80, false},
	{"10.0.0.0/33", "10.0.0.1", 80, false},
	{"10.0.0.0/", "10.0.0.1", 80, false},
	{"10.0.0.0/x", "10.0.0.1", 80, false},
	{"10.0.0.1", "10.0.0.1", 80, true},
	{"10.0.0.1:80", "10.0.0.1", 80, true},
	{"10.0.0.1:81", "10.0.0.1", 80, false},
	{"0.1", "10.0.0.1", 80, false},
	{"::1", "::1", 80, true},
	{"[::1]", "::1", 80, true},
	{"[::1]:80", "::1", 80, true},
	{"[::1]:81", "::1", 80, false},
	{"[::1", "::1", 80, false},
	{"0:0::1", "::1", 80, true},
	{".", "h", 80, false},
};

Test(http_proxy, lists_of_exceptions_have_names_addresses_and_networks)
{
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		cr_expect(eq(int,
			     no_proxy_has(lists[i].list, lists[i].host,
					  lists[i].port),
			     lists[i].has),
			  "'%s' '%s'", lists[i].list, lists[i].host);
}

static void expect_proxy(const char *url, const char *want)
{
	cleanup_http_url struct http_url u = {0};
	struct http_proxies p;
	const char *got;

	cr_assert(eq(int, http_proxies_load(&p, NULL), 0));
	cr_assert(eq(int, http_url_parse(url, &u, NULL), 0));
	got = http_proxy_for(&p, &u);
	cr_expect(eq(str, got ? got : "", want), "%s", url);
	http_proxies_release(&p);
}

Test(http_proxy, comes_from_the_environment)
{
	expect_proxy("https://r.example/", "");
	setenv("HTTP_PROXY", "cgi:1", 1);
	expect_proxy("http://r.example/", "");
	setenv("ALL_PROXY", "all:1", 1);
	expect_proxy("http://r.example/", "all:1");
	setenv("HTTPS_PROXY", "upper:1", 1);
	expect_proxy("https://r.example/", "upper:1");
	setenv("https_proxy", "lower:1", 1);
	expect_proxy("https://r.example/", "lower:1");
	expect_proxy("http://r.example/", "all:1");
	setenv("no_proxy", "example", 1);
	expect_proxy("https://r.example/", "");
	expect_proxy("https://other/", "lower:1");
	expect_proxy("https://localhost/", "");
	expect_proxy("https://127.0.0.1:5000/", "");
}

Test(http_proxy, must_be_one)
{
	static const char *const bad[] = {
		"ftp://h:1",
		"a b",
		"http://h\r\nX: y",
		"://h",
		"http://u:s3cr#t@127.0.0.1:3128",
		"http://u:s3cr/t@127.0.0.1:3128",
		"http://u:s3cr?t@127.0.0.1:3128",
		"http://u:s3%00cret@h:1",
		"http://u:s3cret@:1",
		"http://u:s3cret@h:99999",
		"http://u:s3cret@h:1/path",
		"u:s3cret@h:1?q",
		"http://u:s3[cr@h]",
		"http://u:s3@cret@h:1",
	};
	struct http_proxies p;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cleanup_error struct error *err = NULL;

		setenv("https_proxy", bad[i], 1);
		cr_expect(eq(int, http_proxies_load(&p, &err), -EINVAL), "%s",
			  bad[i]);
		cr_expect(eq(ptr, strstr(err->message, bad[i]), NULL));
	}
}

Test(http_proxy, may_hold_a_login)
{
	static const char *const good[] = {"http://u:s3cret@h:1/",
					   "u:s3%23cret@h",
					   "socks5h://u:a%40b@[::1]:1080",
					   "https://u@h",
					   "h:1",
					   "http://u:@h"};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct http_proxies p = {0};

		setenv("https_proxy", good[i], 1);
		cr_expect(eq(int, http_proxies_load(&p, NULL), 0), "%s",
			  good[i]);
		http_proxies_release(&p);
	}
}
