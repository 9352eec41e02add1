#include "storage/challenge.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strbuf.h"

/*
 * What was understood, one way to write it: "scheme", "scheme(token68)",
 * "scheme{name=value;…}", separated by blanks; "!" at the end: malformed.
 */
static char *understood(const char *field)
{
	cleanup_challenges struct challenges cs = {0};
	struct strbuf sb = STRBUF_INIT;
	int r = challenges_parse(&cs, field);

	for (size_t i = 0; i < cs.n; i++) {
		const struct challenge *c = &cs.v[i];

		strbuf_addf(&sb, "%s%s", i ? " " : "", c->scheme);
		if (c->token68)
			strbuf_addf(&sb, "(%s)", c->token68);
		for (size_t j = 0; j < c->n_params; j++)
			strbuf_addf(&sb, "%c%s=%s", j ? ';' : '{',
				    c->params[j].name, c->params[j].value);
		if (c->n_params)
			strbuf_addc(&sb, '}');
	}
	if (r < 0)
		strbuf_addc(&sb, '!');
	return strbuf_steal(&sb);
}

static const struct {
	const char *field, *want;
} cases[] = {
	/* what registries send */
	{"Basic realm=\"test\"", "basic{realm=test}"},
	{"Bearer realm=\"https://auth.example/token\",service=\"registry\"",
	 "bearer{realm=https://auth.example/token;service=registry}"},
	{"Bearer realm=\"https://a/t\",service=\"r\","
	 "scope=\"repository:p/q:pull,push repository:a/b:pull\"",
	 "bearer{realm=https://a/t;service=r;"
	 "scope=repository:p/q:pull,push repository:a/b:pull}"},
	{"Bearer realm=\"https://a/t\",error=\"insufficient_scope\"",
	 "bearer{realm=https://a/t;error=insufficient_scope}"},
	{"BASIC realm=x", "basic{realm=x}"},
	{"bearer REALM=x", "bearer{realm=x}"},
	{"Basic realm=\"\"", "basic{realm=}"},
	{"Basic realm=\"a\", charset=\"UTF-8\"",
	 "basic{realm=a;charset=UTF-8}"},

	/* several challenges in one field */
	{"Basic realm=\"a\", Bearer realm=\"b\"",
	 "basic{realm=a} bearer{realm=b}"},
	{"Basic realm=\"a\",Bearer realm=\"b\",service=\"c\"",
	 "basic{realm=a} bearer{realm=b;service=c}"},
	{"Newauth realm=\"apps\", type=1, title=\"Login to \\\"apps\\\"\", "
	 "Basic realm=\"simple\"",
	 "newauth{realm=apps;type=1;title=Login to \"apps\"} "
	 "basic{realm=simple}"},
	{"Negotiate, Basic realm=a", "negotiate basic{realm=a}"},
	{"Negotiate , Basic realm=a", "negotiate basic{realm=a}"},
	{"Basic realm=a, Negotiate", "basic{realm=a} negotiate"},
	{"Basic realm=a, Negotiate, NTLM", "basic{realm=a} negotiate ntlm"},
	{"Negotiate YIIJvwYGKwYBBQUCoIIJszCC==, Basic realm=a",
	 "negotiate(YIIJvwYGKwYBBQUCoIIJszCC==) basic{realm=a}"},
	{"A, B, C", "a b c"},
	{"A b=c, D e=f, G h=i", "a{b=c} d{e=f} g{h=i}"},
	{"A b=c,, ,D e=f", "a{b=c} d{e=f}"},
	{"Basic, Basic realm=x", "basic basic{realm=x}"},

	/* commas and blanks */
	{", , Basic realm=a", "basic{realm=a}"},
	{"  Basic   realm=a", "basic{realm=a}"},
	{"\tBasic\trealm=a", "basic{realm=a}"},
	{"Basic realm=a,", "basic{realm=a}"},
	{"Basic realm=a , ,", "basic{realm=a}"},
	{"Basic realm = a", "basic{realm=a}"},
	{"Basic realm= \"a\" , b =c", "basic{realm=a;b=c}"},
	{"Basic realm=a,b=c", "basic{realm=a;b=c}"},
	{"Basic realm=a,,b=c", "basic{realm=a;b=c}"},
	{"Basic realm=a ,\t, b=c", "basic{realm=a;b=c}"},
	{"Basic ,", "basic"},
	{"Basic ", "basic"},
	{"Basic", "basic"},
	{"Basic,realm=a", "basic!"}, /* a parameter of no scheme */

	/* quoted strings */
	{"B a=\"x,y\"", "b{a=x,y}"},
	{"B a=\"x, C d=e\"", "b{a=x, C d=e}"},
	{"B a=\"x\\\"y\"", "b{a=x\"y}"},
	{"B a=\"x\\\\\"", "b{a=x\\}"},
	{"B a=\"\\a\\b\"", "b{a=ab}"},
	{"B a=\"x=y\"", "b{a=x=y}"},
	{"B a=\" x \"", "b{a= x }"},
	{"B a=\"\t\"", "b{a=\t}"},
	{"B a=\"\xc3\xa9\"", "b{a=\xc3\xa9}"},
	{"B a=\"<script>\"", "b{a=<script>}"},
	{"B a=\"\", b=\"\"", "b{a=;b=}"},
	{"B a=\"1\"b=\"2\"", "!"},
	{"B a=\"1\" b=\"2\"", "!"},
	{"B a=\"x", "!"},
	{"B a=\"", "!"},
	{"B a=\"x\\", "!"},
	{"B a=\"x\\\"", "!"},
	{"B a=\"x\x01y\"", "!"},
	{"B a=\"x\ny\"", "!"},
	{"B a=\"x\ry\"", "!"},
	{"B a=\"x\x7fy\"", "!"},
	{"B a=\"x\\\x01\"", "!"},
	{"B a='x y'", "!"},
	{"B a='x'", "b{a='x'}"}, /* apostrophes are token characters */

	/* token68 */
	{"B abc", "b(abc)"},
	{"B abc=", "b(abc=)"},
	{"B abc==", "b(abc==)"},
	{"B abc===", "b(abc===)"},
	{"B a.b-c_d~e+f/g==", "b(a.b-c_d~e+f/g==)"},
	{"B abc== , C d=e", "b(abc==) c{d=e}"},
	{"B abc, def", "b(abc) def"},
	{"B realm=", "b(realm=)"}, /* by the grammar */
	{"B realm=,", "b(realm=)"},
	{"B /", "b(/)"},
	{"B =", "!"},
	{"B ==", "!"},
	{"B abc=def=", "!"},
	{"B abc= def", "b{abc=def}"},
	{"B abc==, d=e", "b(abc==)!"},
	{"B a b", "!"},
	{"B a b=c", "!"},
	{"B a/b=c", "!"},

	/* parameters */
	{"B a=b;c=d", "!"},
	{"B a=b c=d", "!"},
	{"B a=", "b(a=)"},
	{"B a=,b=c", "b(a=)!"},
	{"B a=b,c=", "!"},
	{"B a=b,c", "b{a=b} c"},
	{"B a=b,c d", "b{a=b} c(d)"},
	{"B a=b,=c", "b{a=b}!"},
	{"B a=b,\"c\"=d", "b{a=b}!"},
	{"B a=b,c=d,a=e", "!"},
	{"B a=b,A=c", "!"},
	{"B a=b,C e=f,a=g", "b{a=b} c{e=f;a=g}"},
	{"B a=b=c", "!"},
	{"B a=[x]", "!"},
	{"B a=@", "!"},
	{"B a=(b)", "!"},
	{"B a=http://x", "!"},
	{"B !#$%&'*+-.^_`|~=x", "b{!#$%&'*+-.^_`|~=x}"},

	/* nothing, or nothing that makes sense */
	{"", ""},
	{" ", ""},
	{",", ""},
	{",,,", ""},
	{"=", "!"},
	{"\"", "!"},
	{"\"Basic\"", "!"},
	{"Basic\"x\"", "!"},
	{"Basic;realm=a", "!"},
	{"Basic=realm", "!"},
	{"Ba/sic realm=a", "!"},
	{"(Basic)", "!"},
	{"Basic realm=a, \x01", "basic{realm=a}!"},
	{"Basic realm=a, (x)", "basic{realm=a}!"},
	{"Basic realm=a, Bearer realm=\"x", "basic{realm=a}!"},
	{"Bearer realm=\"x, Basic realm=a", "!"},
	{"\xc3\xa9 realm=a", "!"},
	{"Basic \xc3\xa9=a", "!"},
	{"Basic\nrealm=a", "!"},
	{"Basic\r\nX: y", "!"},
};

Test(challenge, is_understood_or_refused_as_the_grammar_says)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_free char *got = understood(cases[i].field);

		cr_expect(eq(str, got, cases[i].want), "%s", cases[i].field);
	}
}

/* Cut anywhere, or with any byte put anywhere: an answer, never a crash. */
Test(challenge, survives_every_cut_and_every_byte)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t n = strlen(cases[i].field);

		for (size_t cut = 0; cut < n; cut++) {
			cleanup_free char *s = xstrdup(cases[i].field);

			for (int byte = 1; byte < 256; byte += 3) {
				s[cut] = (char)byte;
				free(understood(s));
			}
			s[cut] = '\0';
			free(understood(s));
		}
	}
}

Test(challenge, is_found_by_scheme_over_several_fields)
{
	cleanup_challenges struct challenges cs = {0};

	challenges_parse(&cs, "Negotiate");
	challenges_parse(&cs, "Broken realm=\"");
	challenges_parse(&cs, "Bearer realm=\"r\", service=s");
	cr_assert(eq(sz, cs.n, 2));
	cr_assert(ne(ptr, (void *)challenges_find(&cs, "bearer"), NULL));
	cr_expect(eq(str,
		     (char *)challenge_param(challenges_find(&cs, "bearer"),
					     "service"),
		     "s"));
	cr_expect(eq(ptr, (void *)challenges_find(&cs, "basic"), NULL));
	cr_expect(eq(ptr, (void *)challenge_param(&cs.v[0], "realm"), NULL));
}

static char *with_params(unsigned n)
{
	struct strbuf sb = STRBUF_INIT;

	strbuf_adds(&sb, "B a=b");
	for (unsigned i = 1; i < n; i++)
		strbuf_addf(&sb, ",p%u=x", i);
	return strbuf_steal(&sb);
}

Test(challenge, has_at_most_32_parameters)
{
	cleanup_free char *good = with_params(32), *bad = with_params(33);
	cleanup_challenges struct challenges cs = {0};

	cr_expect(eq(int, challenges_parse(&cs, good), 0));
	cr_expect(eq(sz, cs.v[0].n_params, 32));
	cr_expect(lt(int, challenges_parse(&cs, bad), 0));
	cr_expect(eq(sz, cs.n, 1));
}

Test(challenge, has_values_of_at_most_4_kib)
{
	static const char *const forms[] = {"B a=\"%s\"", "B a=%s", "B %s",
					    "%s a=b", "B %s=b"};

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
		for (size_t n = CHALLENGE_VALUE_MAX;
		     n <= CHALLENGE_VALUE_MAX + 1; n++) {
			cleanup_challenges struct challenges cs = {0};
			cleanup_strbuf struct strbuf sb = STRBUF_INIT;
			const char *at = strstr(forms[i], "%s");

			strbuf_add(&sb, forms[i], (size_t)(at - forms[i]));
			for (size_t j = 0; j < n; j++)
				strbuf_addc(&sb, 'x');
			strbuf_adds(&sb, at + 2);
			cr_expect(eq(int, challenges_parse(&cs, sb.buf) == 0,
				     n == CHALLENGE_VALUE_MAX),
				  "%s with %zu", forms[i], n);
		}
}

Test(challenge, is_one_of_at_most_16)
{
	cleanup_challenges struct challenges cs = {0};

	for (int i = 0; i < 16; i++)
		cr_expect(eq(int, challenges_parse(&cs, "A"), 0));
	cr_expect(lt(int, challenges_parse(&cs, "A"), 0));
	cr_expect(eq(sz, cs.n, 16));
}
