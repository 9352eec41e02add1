#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "cache/cache.h"
#include "engine/root.h"

#define D1 "1111111111111111111111111111111111111111111111111111111111111111"
#define D2 "2222222222222222222222222222222222222222222222222222222222222222"
#define D3 "3333333333333333333333333333333333333333333333333333333333333333"
#define TREE(d)                                                  \
	"{\"digest\":\"sha256:" d                                \
	"\",\"mediaType\":\"application/vnd.modelops.tree.v1\"," \
	"\"size\":208}"
#define TREE_CHUNKED                                             \
	"{\"chunks\":[\"sha256:" D1 "\",\"sha256:" D2            \
	"\"],\"digest\":\"sha256:" D3                            \
	"\",\"mediaType\":\"application/vnd.modelops.tree.v1\"," \
	"\"size\":1048577}"
#define LAYER(name, tree)                                            \
	"{\"bytes\":10,\"bytesByPlace\":{\"blob\":1,\"external\":2," \
	"\"pack\":7},\"files\":3,\"name\":\"" name "\",\"tree\":" tree "}"
#define ROLE(layers, name, tree) \
	"{\"layers\":[" layers "],\"name\":\"" name "\",\"tree\":" tree "}"
#define ROLES                                          \
	ROLE("\"code\",\"data\"", "all", TREE_CHUNKED) \
	"," ROLE("\"code\"", "default", TREE(D1))
#define ROOT(requires, layers, roles)                                                               \
	"{\"chunkSize\":1048576,\"layers\":[" layers                                                \
	"],\"partSize\":5368709120,\"planVersion\":1,\"requires\":[" requires "],\"roles\":[" roles \
									      "],\"schemaVersion\":1,\"totals\":{\"bytes\":20,\"files\":6}}"
#define LAYERS LAYER("code", TREE(D1)) "," LAYER("data", TREE(D2))

static const char good[] = ROOT("", LAYERS, ROLES);

static int parse(const char *text, struct root *ret, struct error **errp)
{
	return root_parse(text, strlen(text), ret, errp);
}

Test(root, reads_every_member)
{
	cleanup_root struct root r = {0};
	cleanup_error struct error *err = NULL;

	cr_assert(eq(int, parse(good, &r, &err), 0), "%s",
		  err ? err->message : "");
	cr_expect(eq(u32, r.plan_version, 1));
	cr_expect(eq(u64, r.files, 6));
	cr_expect(eq(u64, r.bytes, 20));
	cr_assert(eq(sz, r.n_layers, 2));
	cr_expect(eq(str, r.layers[1].name, "data"));
	cr_expect(eq(u64, r.layers[1].bytes_blob, 1));
	cr_expect(eq(u64, r.layers[1].bytes_external, 2));
	cr_expect(eq(u64, r.layers[1].bytes_pack, 7));
	cr_expect(eq(u64, r.layers[0].tree.size, 208));
	cr_expect(eq(u32, r.layers[0].tree.n_chunks, 0));
	cr_assert(eq(sz, r.n_roles, 2));
	cr_assert(eq(sz, r.roles[0].n_layers, 2));
	cr_expect(eq(u32, r.roles[0].layers[1], 1));
	cr_assert(eq(u32, r.roles[0].tree.n_chunks, 2));
	cr_expect(eq(int, r.roles[0].tree.chunks[1].b[0], 0x22));
	cr_expect(eq(ptr, (void *)root_find_role(&r, "default"), &r.roles[1]));
	cr_expect(eq(ptr, (void *)root_find_role(&r, "training"), NULL));
}

Test(root, writes_what_it_read)
{
	cleanup_root struct root r = {0};
	cleanup_strbuf struct strbuf out = STRBUF_INIT;

	cr_assert(eq(int, parse(good, &r, NULL), 0));
	root_write(&r, &out);
	cr_expect(eq(str, out.buf, (char *)good));
}

/* @good with @from replaced by @to. */
static char *changed(const char *from, const char *to)
{
	const char *p = strstr(good, from);

	cr_assert(ne(ptr, (void *)p, NULL), "%s", from);
	return xasprintf("%.*s%s%s", (int)(p - good), good, to,
			 p + strlen(from));
}

Test(root, ignores_members_it_does_not_know)
{
	cleanup_free char *text =
		changed("\"requires\"", "\"more\":{\"x\":[1]},\"requires\"");
	cleanup_root struct root r = {0};

	cr_expect(eq(int, parse(text, &r, NULL), 0));
}

Test(root, says_unsupported_for_what_it_cannot_know)
{
	static const char *const cases[][2] = {
		{"\"schemaVersion\":1", "\"schemaVersion\":2"},
		{"\"requires\":[]", "\"requires\":[\"sparse\"]"},
		{"1048576,", "2097152,"},
		{"5368709120", "5368709121"},
		{"tree.v1", "tree.v2"},
		{"sha256:" D1, "sha512:" D1 D1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_free char *text = changed(cases[i][0], cases[i][1]);
		cleanup_error struct error *err = NULL;
		struct root r = {0};

		cr_expect(eq(int, parse(text, &r, &err), -EPROTONOSUPPORT),
			  "%s", cases[i][1]);
		cr_assert(ne(ptr, err, NULL));
		cr_expect(eq(int, err->kind, ERROR_MEDIA_TYPE));
	}
}

Test(root, an_unknown_version_comes_before_what_that_version_may_change)
{
	cleanup_error struct error *err = NULL;
	struct root r = {0};

	cr_expect(eq(int, parse("{\"schemaVersion\":9}", &r, &err),
		     -EPROTONOSUPPORT));
}

Test(root, refuses_what_breaks_a_rule)
{
	static const char *const cases[][2] = {
		{"\"schemaVersion\":1", "\"schemaVersion\":\"1\""},
		{"\"schemaVersion\":1", "\"schemaVersion\":1.0"},
		{",\"schemaVersion\":1", ""},
		{"\"requires\":[],", ""},
		{"\"requires\":[]", "\"requires\":[1]"},
		{"\"requires\":[]", "\"requires\":{}"},
		{"\"planVersion\":1", "\"planVersion\":0"},
		{"\"planVersion\":1", "\"planVersion\":-1"},
		{"\"planVersion\":1", "\"planVersion\":4294967296"},
		{"\"files\":3", "\"files\":-3"},
		{"\"blob\":1,", ""},
		{"\"totals\":{\"bytes\":20,", "\"totals\":{"},
		{"\"name\":\"code\"", "\"name\":\"Code\""},
		{"\"name\":\"code\"", "\"name\":\"\""},
		{"\"name\":\"code\"", "\"name\":\"../code\""},
		{"\"name\":\"data\"", "\"name\":\"code\""},
		{"\"name\":\"all\"", "\"name\":\"zzz\""},
		{"\"name\":\"all\"", "\"name\":\"default\""},
		{"[\"code\",\"data\"]", "[\"data\",\"code\"]"},
		{"[\"code\",\"data\"]", "[\"code\",\"code\"]"},
		{"[\"code\",\"data\"]", "[\"code\",\"gone\"]"},
		{"[\"code\",\"data\"]", "[]"},
		{"[\"code\",\"data\"]", "[\"code\"]"},
		{"[\"code\",\"data\"]", "[\"code\",2]"},
		{"\"size\":1048577", "\"size\":1048576"},
		{"\"size\":1048577", "\"size\":2097153"},
		{"\"size\":208", "\"size\":1048577"},
		{"\"size\":208", "\"size\":-1"},
		{"\"size\":208", "\"size\":9223372036854775808"},
		/* The same digest, otherwise described. */
		{"\"size\":208", "\"size\":209"},
		{"{\"chunks\":[\"sha256:" D1, "{\"chunks\":[\"sha256:" D3 "0"},
		{"{\"chunks\":[\"sha256:" D1 "\"", "{\"chunks\":[7"},
		{"sha256:" D3, "sha256:" D2},
		{"sha256:" D3, D3},
		{"\"digest\":\"sha256:" D3 "\",", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_free char *text = changed(cases[i][0], cases[i][1]);
		cleanup_error struct error *err = NULL;
		struct root r = {0};

		cr_expect(eq(int, parse(text, &r, &err), -EINVAL), "%s → %s",
			  cases[i][0], cases[i][1]);
		cr_assert(ne(ptr, err, NULL));
	}
}

Test(root, a_role_that_names_a_missing_layer_is_a_role_error)
{
	cleanup_free char *text =
		changed("[\"code\",\"data\"]", "[\"code\",\"gone\"]");
	cleanup_error struct error *err = NULL;
	struct root r = {0};

	parse(text, &r, &err);
	cr_expect(eq(int, err->kind, ERROR_ROLE));
	cr_expect(ne(ptr, strstr(err->message, "'gone'"), NULL));
}

Test(root, refuses_nothing_at_all)
{
	static const char *const cases[] = {
		"",
		"{}",
		"[]",
		"null",
		"0",
		"{\"schemaVersion\":1}",
		ROOT("", "", ROLES),
		ROOT("", LAYERS, ""),
		ROOT("", LAYERS, ROLES) " {}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct root r = {0};

		cr_expect(eq(int, parse(cases[i], &r, NULL), -EINVAL), "%s",
			  cases[i]);
	}
}

/* A root with @n layers and @n_trees trees. */
static void many_layers(size_t n, size_t n_trees, struct strbuf *out)
{
	strbuf_adds(out, "{\"chunkSize\":1048576,\"layers\":[");
	for (size_t i = 0; i < n; i++)
		strbuf_addf(out,
			    "%s{\"bytes\":0,\"bytesByPlace\":{\"blob\":0,"
			    "\"external\":0,\"pack\":0},\"files\":0,"
			    "\"name\":\"l%zu\",\"tree\":{\"digest\":\"sha256:"
			    "%064zx\",\"mediaType\":\"" MEDIA_TYPE_TREE "\","
			    "\"size\":208}}",
			    i ? "," : "", i, i % n_trees);
	strbuf_adds(out, "],\"partSize\":5368709120,\"planVersion\":1,"
			 "\"requires\":[],\"roles\":[{\"layers\":[\"l0\"],"
			 "\"name\":\"default\",\"tree\":{\"digest\":\"sha256:");
	strbuf_addf(out, "%064x", 0);
	strbuf_adds(out, "\",\"mediaType\":\"" MEDIA_TYPE_TREE "\",\"size\":208"
			 "}}],\"schemaVersion\":1,\"totals\":{\"bytes\":0,"
			 "\"files\":0}}");
}

Test(root, holds_32_trees_and_not_one_more)
{
	cleanup_strbuf struct strbuf fits = STRBUF_INIT, over = STRBUF_INIT;
	cleanup_root struct root r = {0};
	struct root none = {0};

	many_layers(32, 32, &fits);
	cr_expect(eq(int, parse(fits.buf, &r, NULL), 0));
	many_layers(33, 33, &over);
	cr_expect(eq(int, parse(over.buf, &none, NULL), -EINVAL));
}

Test(root, holds_32_layers_even_of_one_tree)
{
	cleanup_strbuf struct strbuf fits = STRBUF_INIT, over = STRBUF_INIT;
	cleanup_root struct root r = {0};
	struct root none = {0};

	many_layers(32, 1, &fits);
	cr_expect(eq(int, parse(fits.buf, &r, NULL), 0));
	many_layers(33, 1, &over);
	cr_expect(eq(int, parse(over.buf, &none, NULL), -EINVAL));
}

Test(root, any_changed_byte_is_parsed_or_refused)
{
	size_t n = strlen(good);

	for (size_t i = 0; i < n; i++)
		for (int flip = 1; flip < 256; flip += flip) {
			cleanup_free char *text = xmemdup(good, n);
			cleanup_root struct root r = {0};
			cleanup_strbuf struct strbuf out = STRBUF_INIT;
			int got;

			text[i] = (char)(text[i] ^ flip);
			got = root_parse(text, n, &r, NULL);
			if (got == 0)
				root_write(&r, &out);
			cr_assert(got == 0 || got == -EINVAL ||
				  got == -EPROTONOSUPPORT);
		}
}
