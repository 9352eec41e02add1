#include "engine/reference.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define HEX                                \
	"0123456789abcdef0123456789abcdef" \
	"0123456789abcdef0123456789abcdef"
#define D  "sha256:" HEX
#define DR "registry.example.com/team"

struct taken {
	const char *text, *registry_default;
	bool layout;
	const char *registry, *repo, *tag;
	bool has_digest;
	const char *str;
};

static const struct taken taken[] = {
	/* bare, below a host */
	{"epi-sir", DR, false, "registry.example.com", "team/epi-sir", "latest",
	 false, "registry.example.com/team/epi-sir:latest"},
	{"epi-sir:1.3.2", DR, false, "registry.example.com", "team/epi-sir",
	 "1.3.2", false, "registry.example.com/team/epi-sir:1.3.2"},
	{"epi-sir@1.3.2", DR, false, "registry.example.com", "team/epi-sir",
	 "1.3.2", false, "registry.example.com/team/epi-sir:1.3.2"},
	{"epi-sir@" D, DR, false, "registry.example.com", "team/epi-sir", NULL,
	 true, "registry.example.com/team/epi-sir@" D},
	{"epi-sir:1.3.2@" D, DR, false, "registry.example.com", "team/epi-sir",
	 "1.3.2", true, "registry.example.com/team/epi-sir:1.3.2@" D},
	{"ns/epi-sir:1", "r:5000", false, "r:5000", "ns/epi-sir", "1", false,
	 "r:5000/ns/epi-sir:1"},
	{"a/b/c@v_1", "localhost", false, "localhost", "a/b/c", "v_1", false,
	 "localhost/a/b/c:v_1"},
	{"localhost:5000", "r.io", false, "r.io", "localhost", "5000", false,
	 "r.io/localhost:5000"},
	{"a/b.c", "r.io", false, "r.io", "a/b.c", "latest", false,
	 "r.io/a/b.c:latest"},
	/* bare, below a layout folder */
	{"epi-sir", "oci:/var/reg", true, "/var/reg", "epi-sir", "latest",
	 false, "oci:/var/reg:epi-sir:latest"},
	{"epi-sir:2", "oci:/var/reg", true, "/var/reg", "epi-sir", "2", false,
	 "oci:/var/reg:epi-sir:2"},
	{"ns/epi-sir@" D, "oci:/var/reg", true, "/var/reg", "ns/epi-sir", NULL,
	 true, "oci:/var/reg:ns/epi-sir@" D},
	/* with a host */
	{"ghcr.io/org/model", DR, false, "ghcr.io", "org/model", "latest",
	 false, "ghcr.io/org/model:latest"},
	{"ghcr.io/org/model:v1", NULL, false, "ghcr.io", "org/model", "v1",
	 false, "ghcr.io/org/model:v1"},
	{"ghcr.io/org/model@v1", NULL, false, "ghcr.io", "org/model", "v1",
	 false, "ghcr.io/org/model:v1"},
	{"GHCR.io/org/model:V1", NULL, false, "ghcr.io", "org/model", "V1",
	 false, "ghcr.io/org/model:V1"},
	{"localhost/m:v1", NULL, false, "localhost", "m", "v1", false,
	 "localhost/m:v1"},
	{"localhost:5000/m", NULL, false, "localhost:5000", "m", "latest",
	 false, "localhost:5000/m:latest"},
	{"host:5000/m@" D, NULL, false, "host:5000", "m", NULL, true,
	 "host:5000/m@" D},
	{"127.0.0.1:5000/a/b:c@" D, NULL, false, "127.0.0.1:5000", "a/b", "c",
	 true, "127.0.0.1:5000/a/b:c@" D},
	{"[::1]:5000/m:1", NULL, false, "[::1]:5000", "m", "1", false,
	 "[::1]:5000/m:1"},
	{"[2001:DB8::1]/m:1", NULL, false, "[2001:db8::1]", "m", "1", false,
	 "[2001:db8::1]/m:1"},
	{"r.io/oci:1", NULL, false, "r.io", "oci", "1", false, "r.io/oci:1"},
	{"r.io/a.b:1", NULL, false, "r.io", "a.b", "1", false, "r.io/a.b:1"},
	{"r.io/a__b---c.d_e:1", NULL, false, "r.io", "a__b---c.d_e", "1", false,
	 "r.io/a__b---c.d_e:1"},
	/* layout folders */
	{"oci:reg:m:1", NULL, true, "reg", "m", "1", false, "oci:reg:m:1"},
	{"oci:/a b/c:ns/m:1", NULL, true, "/a b/c", "ns/m", "1", false,
	 "oci:/a b/c:ns/m:1"},
	{"oci:../reg:m", NULL, true, "../reg", "m", "latest", false,
	 "oci:../reg:m:latest"},
	{"oci:./reg:m@1", NULL, true, "./reg", "m", "1", false,
	 "oci:./reg:m:1"},
	{"oci:/r@" D, NULL, true, "/r", NULL, NULL, true, "oci:/r@" D},
	{"oci:/r:m@" D, NULL, true, "/r", "m", NULL, true, "oci:/r:m@" D},
	{"oci:/r:m:1@" D, NULL, true, "/r", "m", "1", true, "oci:/r:m:1@" D},
};

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static void check_taken(const struct taken *t)
{
	cleanup_reference struct reference ref = {0};
	cleanup_error struct error *err = NULL;
	cleanup_free char *str = NULL;
	int r = reference_parse(t->text, t->registry_default, &ref, &err);

	cr_assert(r == 0, "%s: %s", t->text, err ? err->message : "");
	str = reference_str(&ref);
	cr_expect(ref.layout == t->layout, "%s", t->text);
	cr_expect(same(ref.registry, t->registry), "%s: %s", t->text,
		  ref.registry);
	cr_expect(same(ref.repo, t->repo), "%s: %s", t->text, ref.repo);
	cr_expect(same(ref.tag, t->tag), "%s: %s", t->text, ref.tag);
	cr_expect(same(ref.text, t->text), "%s", t->text);
	cr_expect(ref.has_digest == t->has_digest, "%s", t->text);
	if (ref.has_digest)
		cr_expect(same(digest_to_hex(&ref.digest).str, HEX), "%s",
			  t->text);
	cr_expect(same(str, t->str), "%s: %s", t->text, str);
}

Test(reference, takes_every_form_of_the_grammar)
{
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
		check_taken(&taken[i]);
}

Test(reference, reads_back_what_it_writes)
{
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++) {
		cleanup_reference struct reference a = {0}, b = {0};
		cleanup_free char *sa = NULL, *sb = NULL;

		/* A default host without '.' or ':' is a host only there. */
		cr_assert(
			eq(int,
			   reference_parse(taken[i].text,
					   taken[i].registry_default, &a, NULL),
			   0));
		sa = reference_str(&a);
		cr_assert(eq(int, reference_parse(sa, NULL, &b, NULL), 0));
		sb = reference_str(&b);
		cr_assert(eq(str, sa, sb));
	}
}

static const char *const refused[] = {
	"",
	" ",
	"Epi-sir",
	"epi sir",
	"epi-sir:",
	"epi-sir@",
	"epi-sir:1:2",
	"epi-sir:1@2",
	"epi-sir@1@2",
	"epi-sir@1@" D,
	"epi-sir@" D "@" D,
	"epi-sir@" D ":1",
	"epi-sir:-1",
	"epi-sir:.1",
	"epi-sir:1+2",
	"epi-sir:a/b",
	"epi-sir:\xc3\xa9",
	":1",
	"@1",
	"@" D,
	"/",
	"/abs/path",
	"./rel",
	"../rel",
	".",
	"..",
	"-a",
	"a-",
	"a..b/c",
	"a___b",
	"a._b",
	"_a",
	"a_",
	"a//b",
	"a/",
	"a/b/",
	"a/-b",
	"a/b-/c",
	"a.b",
	"a.b:1",
	"a.b@1",
	"oci",
	"oci@1",
	"oci:",
	"oci:/folder",
	"oci::m:1",
	"oci:@" D,
	"oci:/f:",
	"oci:/f:m:",
	"oci:/f:m:1:2",
	"oci:/f:M:1",
	"oci:/f:a.b:1",
	"oci:/f:oci:1",
	"oci:/f@1",
	"oci:/f@b:m:1",
	"oci:/f@sha256:00",
	"epi-sir@sha256:",
	"epi-sir@sha256:"
	"0123456789abcdef0123456789abcdef"
	"0123456789abcdef0123456789abcde",
	"epi-sir@sha256:" HEX "0",
	"epi-sir@sha256:"
	"0123456789ABCDEF0123456789abcdef"
	"0123456789abcdef0123456789abcdef",
	"epi-sir@SHA256:" HEX,
	"epi-sir@sha256;" HEX ":1",
	"host:/m",
	"host:0/m",
	"host:080/m",
	"host:65536/m",
	"host:123456/m",
	"host:port/m",
	"host:5000/",
	"host:5000/M",
	"-host.io/m",
	"host-.io/m",
	"host..io/m",
	".io/m",
	"host.io./m",
	"ho_st.io/m",
	"h\xc3\xb6st.io/m",
	"[::1/m",
	"[::1]x/m",
	"[::1]:/m",
	"[::g]/m",
	"[]/m",
	"localhost//m",
	"https://host/m",
	"oci://host/m:1",
	"user:pw@host.io/m:1",
	"user@host.io/m",
	"m:1\n",
	"m\x1b[31m",
	"m?x=1",
	"m#x",
	"m%20",
	"m\\n",
};

Test(reference, refuses_all_else)
{
	cr_assert(ge(sz, ARRAY_SIZE(refused), 60));
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		cleanup_reference struct reference ref = {0};
		cleanup_error struct error *err = NULL;
		int r = reference_parse(refused[i], DR, &ref, &err);

		cr_expect(r == -EINVAL, "'%s' gives %d", refused[i], r);
		cr_assert(err != NULL, "'%s'", refused[i]);
		cr_expect(err->kind == ERROR_VALIDATION, "'%s'", refused[i]);
		cr_expect(ref.text == NULL, "'%s': nothing is written",
			  refused[i]);
	}
}

Test(reference, says_that_another_algorithm_is_unsupported)
{
	cleanup_reference struct reference ref = {0};
	cleanup_error struct error *err = NULL;
	int r = reference_parse("m@sha512:" HEX HEX, DR, &ref, &err);

	cr_assert(eq(int, r, -EPROTONOSUPPORT));
	cr_assert(eq(int, err->kind, ERROR_MEDIA_TYPE));
}

Test(reference, never_quotes_what_may_be_a_password)
{
	static const char *const texts[] = {
		"https://bob:hunter2@host.io/m", "bob:hunter2@host.io/m:1",
		"oci://bob:hunter2@host.io/m",   "hunter2@host.io/m",
		"bob:hunter2@host.io",           "bob:hunter2@host.io:5000",
		"https://host.io/m?sig=hunter2"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		cleanup_reference struct reference ref = {0};
		cleanup_error struct error *err = NULL;

		cr_assert(
			lt(int, reference_parse(texts[i], DR, &ref, &err), 0));
		cr_expect(eq(ptr, strstr(err->message, "hunter2"), NULL));
		cr_expect(eq(ptr, strstr(err->hint ? err->hint : "", "hunter2"),
			     NULL));
	}
}

Test(reference, bounds_lengths)
{
	cleanup_free char *name = xcalloc(1, 10000), *tagged = NULL;
	cleanup_reference struct reference ref = {0};

	memset(name, 'a', 9999);
	cr_expect(eq(int, reference_parse(name, DR, &ref, NULL), -EINVAL));
	name[256] = '\0';
	cr_expect(eq(int, reference_parse(name, "r.io", &ref, NULL), -EINVAL));
	name[251] = '\0';
	cr_expect(eq(int, reference_parse(name, "r.io", &ref, NULL), -EINVAL),
		  "host and name together");
	name[129] = '\0';
	tagged = xasprintf("m:%s", name);
	cr_expect(
		eq(int, reference_parse(tagged, "r.io", &ref, NULL), -EINVAL));
	tagged[strlen(tagged) - 1] = '\0';
	cr_expect(eq(int, reference_parse(tagged, "r.io", &ref, NULL), 0));
}

Test(reference, needs_a_sound_default_registry_for_a_bare_name)
{
	static const char *const bad[] = {
		NULL,   "",         "https://r.io", "r.io/", "r.io/A",
		"oci:", "oci:/a:b", "oci:/a@b",     "r_.io"};
	cleanup_reference struct reference ref = {0};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cr_expect(reference_parse("m:1", bad[i], &ref, NULL) == -EINVAL,
			  "%s", bad[i]);
		cr_expect(bad[i] == NULL || registry_flaw(bad[i]) != NULL);
	}
	cr_expect(registry_flaw("r") == NULL);
	cr_expect(registry_flaw("r:5000/a/b") == NULL);
	cr_expect(registry_flaw("oci:/a") == NULL);
}

Test(reference, knows_a_folder_when_it_sees_one)
{
	static const char *const paths[] = {".",   "..",   "./", "./a",
					    "../", "../a", "/",  "/a"};
	static const char *const others[] = {"",    "a",   "a/b",     ".a",
					     "...", "..a", "oci:./a", "~/a"};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		cr_expect(reference_is_path(paths[i]), "%s", paths[i]);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		cr_expect(reference_is_path(others[i]) == false, "%s",
			  others[i]);
}

static char *key_of(const char *text)
{
	cleanup_reference struct reference ref = {0};

	cr_assert(eq(int, reference_parse(text, DR, &ref, NULL), 0));
	return reference_cache_key(&ref);
}

Test(reference, has_one_cache_key_per_tag)
{
	cleanup_free char *a = key_of("m:1"), *b = key_of("m@1"),
			  *c = key_of("m:1@" D), *d = key_of("m@" D),
			  *e = key_of("oci:.:m:1"),
			  *f = key_of("oci:././.:m:1"),
			  *g = key_of("oci:no/such:m:1");

	cr_expect(eq(str, a, "registry.example.com/team/m:1"));
	cr_expect(eq(str, a, b));
	cr_expect(eq(str, a, c), "what a tag was does not depend on the pin");
	cr_expect(d == NULL, "no tag, no key");
	cr_expect(eq(str, e, f));
	cr_expect(strncmp(e, "oci:/", 5) == 0, "%s", e);
	cr_expect(strncmp(g, "oci:/", 5) == 0, "%s", g);
}

Test(reference, knows_what_may_be_a_bundles_name_and_version)
{
	cr_expect(bundle_name_flaw("epi-sir") == NULL);
	cr_expect(bundle_name_flaw("a/b.c") == NULL);
	cr_expect(bundle_name_flaw("a.b") != NULL);
	cr_expect(bundle_name_flaw("a.b/c") != NULL);
	cr_expect(bundle_name_flaw("a:1/c") != NULL);
	cr_expect(bundle_name_flaw("localhost/c") != NULL);
	cr_expect(bundle_name_flaw("oci") != NULL);
	cr_expect(bundle_name_flaw("") != NULL);
	cr_expect(bundle_version_flaw("1.3.2") == NULL);
	cr_expect(bundle_version_flaw("1.3.2+x") != NULL);
	cr_expect(bundle_version_flaw("") != NULL);
}
