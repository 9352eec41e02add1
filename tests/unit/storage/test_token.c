#include "storage/token.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/secret.h"
#include "base/strbuf.h"

static char *joined(char *const *list)
{
	struct strbuf sb = STRBUF_INIT;

	for (; list && *list; list++)
		strbuf_addf(&sb, "%s%s", sb.len ? " " : "", *list);
	return strbuf_steal(&sb);
}

static void expect_scopes(const char *a, const char *b, int code,
			  const char *want)
{
	cleanup_strv char **list = NULL;
	cleanup_free char *got = NULL;

	cr_expect(eq(int, scopes_add(&list, a), 0), "%s", a);
	cr_expect(eq(int, scopes_add(&list, b), code), "%s", b);
	got = joined(list);
	cr_expect(eq(str, got, want), "%s + %s", a, b);
}

Test(token, scopes_unite_the_actions_of_a_resource)
{
	expect_scopes("repository:a/b:pull", "repository:a/b:push,pull", 0,
		      "repository:a/b:pull,push");
	expect_scopes("repository:a:pull", "repository:b:pull", 0,
		      "repository:a:pull repository:b:pull");
	expect_scopes("repository:h:5000/a:pull", "repository:h:5000/a:delete",
		      0, "repository:h:5000/a:delete,pull");
	expect_scopes("repository:a:pull", "", 0, "repository:a:pull");
	expect_scopes("", "  aws  registry:catalog:* ", 0,
		      "aws registry:catalog:*");
	expect_scopes("repository:a:", "repository:a:pull,,pull", 0,
		      "repository:a:pull");
}

Test(token, scopes_refuse_what_no_scope_has)
{
	expect_scopes("a:b", "c:\"d\"", -EINVAL, "a:b");
	expect_scopes("a:b", "c:d\\ e:f", -EINVAL, "a:b");
	expect_scopes("a:b", ":pull", -EINVAL, "a:b");
	expect_scopes("a:b", "c:\r\nX:y", -EINVAL, "a:b");
	expect_scopes("a:b", "c:d e:\xc3\xa4", -EINVAL, "a:b c:d");
}

Test(token, scopes_are_bounded)
{
	cleanup_strv char **list = NULL;
	char big[SCOPE_MAX + 2];

	memset(big, 'a', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	cr_expect(eq(int, scopes_add(&list, big), -EFBIG));
	for (int i = 0; i < SCOPES_MAX; i++) {
		cleanup_free char *s = xasprintf("r:%d:pull", i);

		cr_expect(eq(int, scopes_add(&list, s), 0));
	}
	cr_expect(eq(int, scopes_add(&list, "r:more:pull"), -EFBIG));
	cr_expect(eq(int, scopes_add(&list, "r:1:push"), 0), "no new one");
}

static int parse(const char *text, struct token_answer *ret)
{
	return token_answer_parse(text, strlen(text), ret, NULL);
}

static void expect_answer(const char *text, const char *token, int64_t life_ms)
{
	cleanup_token_answer struct token_answer a = {0};

	cr_assert(eq(int, parse(text, &a), 0), "%s", text);
	cr_expect(eq(str, a.token, token), "%s", text);
	cr_expect(eq(i64, a.life_ms, life_ms), "%s", text);
}

Test(token, answers_are_understood)
{
	expect_answer("{\"token\":\"t\"}", "t", 60000);
	expect_answer("{\"access_token\":\"t\",\"expires_in\":5}", "t", 5000);
	expect_answer("{\"token\":\"\",\"access_token\":\"t\"}", "t", 60000);
	expect_answer("{\"token\":\"t\",\"expires_in\":0}", "t", 1);
	expect_answer("{\"token\":\"t\",\"expires_in\":-57}", "t", 1);
	expect_answer("{\"token\":\"t\",\"expires_in\":\"9\"}", "t", 60000);
	expect_answer("{\"token\":\"t\",\"expires_in\":9223372036854775807}",
		      "t", 366LL * 86400 * 1000);
}

Test(token, answers_may_bring_a_refresh_token)
{
	cleanup_token_answer struct token_answer a = {0};

	cr_assert(eq(int,
		     parse("{\"token\":\"t\",\"refresh_token\":\"r\"}", &a),
		     0));
	cr_expect(eq(str, a.refresh_token, "r"));
}

Test(token, answers_without_a_usable_token_are_refused)
{
	static const char *const bad[] = {
		"",
		"<html>",
		"[]",
		"{}",
		"{\"token\":\"\"}",
		"{\"token\":5}",
		"{\"token\":\"a b\"}",
		"{\"token\":\"a\\r\\nX: y\"}",
		"{\"token\":\"\xc3\xa4\"}",
		"{\"token\":\"a\",\"token\":\"b\"}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cleanup_token_answer struct token_answer a = {0};

		cr_expect(eq(int, parse(bad[i], &a), -EINVAL), "%s", bad[i]);
	}
}

Test(token, requests_escape_what_they_carry)
{
	char *scopes[] = {(char *)"repository:a/b:pull",
			  (char *)"repository:c:pull", NULL};
	const struct token_request get = {
		.service = "a&b",
		.scopes = scopes,
		.user = "al ice",
		.secret = "hidden",
	};
	cleanup_http_url struct http_url url = {0};
	cleanup_secret char *form = NULL;
	size_t n = 0;

	cr_assert(eq(int, http_url_parse("https://t.example/x?y=1", &url, NULL),
		     0));
	token_request_query(&get, &url);
	cr_expect(eq(str, url.query,
		     "y=1&service=a%26b&scope=repository%3Aa%2Fb%3Apull&"
		     "scope=repository%3Ac%3Apull&account=al%20ice"));
	form = token_request_form(&get, &n);
	cr_expect(eq(str, form,
		     "grant_type=password&client_id=mops&service=a%26b&"
		     "scope=repository%3Aa%2Fb%3Apull%20repository%3Ac%3Apull&"
		     "username=al%20ice&password=hidden"));
	cr_expect(eq(sz, n, strlen(form)));
}

Test(token, requests_can_show_a_refresh_token)
{
	const struct token_request rq = {.refresh_token = "a+b="};
	size_t n = 0;
	cleanup_secret char *form = token_request_form(&rq, &n);

	cr_expect(eq(str, form,
		     "grant_type=refresh_token&client_id=mops&"
		     "refresh_token=a%2Bb%3D"));
}

static void expect_site(const char *a, const char *b, int same)
{
	cr_expect(eq(int, hosts_same_site(a, b), same), "%s %s", a, b);
	cr_expect(eq(int, hosts_same_site(b, a), same), "%s %s", b, a);
}

Test(token, hosts_of_one_owner_are_told_by_their_names)
{
	expect_site("registry-1.docker.io", "auth.docker.io", 1);
	expect_site("registry.gitlab.com", "gitlab.com", 1);
	expect_site("r.example", "R.EXAMPLE", 1);
	expect_site("a.b.r.example", "c.r.example", 1);
	expect_site("r.example.co.uk", "t.example.co.uk", 1);
	expect_site("r.one.co.uk", "t.two.co.uk", 0);
	expect_site("one.co.uk", "two.co.uk", 0);
	expect_site("r.example", "r.example.evil", 0);
	expect_site("example.com", "notexample.com", 0);
	expect_site("docker.io", "docker.com", 0);
	expect_site("localhost", "localhost", 0);
	expect_site("10.0.0.1", "10.1.0.1", 0);
	expect_site("::1", "::1", 0);
}
