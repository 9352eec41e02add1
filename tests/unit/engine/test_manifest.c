#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "engine/root.h"

#define D1 "1111111111111111111111111111111111111111111111111111111111111111"
#define D2 "2222222222222222222222222222222222222222222222222222222222222222"
#define D3 "3333333333333333333333333333333333333333333333333333333333333333"

static const char good[] =
	"{\"artifactType\":\"application/vnd.modelops.bundle.v1\","
	"\"config\":{\"digest\":\"sha256:" D1 "\","
	"\"mediaType\":\"application/vnd.modelops.bundle.root.v1+json\","
	"\"size\":700},\"layers\":[{\"annotations\":{"
	"\"org.opencontainers.image.title\":\".mops/tree/code\"},"
	"\"digest\":\"sha256:" D2 "\","
	"\"mediaType\":\"application/vnd.modelops.tree.v1\",\"size\":208},"
	"{\"digest\":\"sha256:" D3 "\",\"mediaType\":"
	"\"application/octet-stream\",\"size\":1048576}],"
	"\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
	"\"schemaVersion\":2}";

static int parse(const char *text, struct manifest *ret, struct error **errp)
{
	return manifest_parse(text, strlen(text), NULL, ret, errp);
}

static char *changed(const char *from, const char *to)
{
	const char *p = strstr(good, from);

	cr_assert(ne(ptr, (void *)p, NULL), "%s", from);
	return xasprintf("%.*s%s%s", (int)(p - good), good, to,
			 p + strlen(from));
}

Test(manifest, finds_blobs_by_digest)
{
	cleanup_manifest struct manifest m = {0};
	cleanup_error struct error *err = NULL;
	struct digest d;

	cr_assert(eq(int, parse(good, &m, &err), 0), "%s",
		  err ? err->message : "");
	cr_assert(eq(sz, m.n_layers, 2));
	cr_expect(eq(u64, m.config.size, 700));
	cr_expect(eq(ptr, m.config.data, NULL));
	digest_parse_hex(D3, 64, &d, NULL);
	cr_expect(eq(ptr, (void *)manifest_blob(&m, &d), &m.layers[1]));
	digest_parse_hex(D1, 64, &d, NULL);
	cr_expect(eq(ptr, (void *)manifest_blob(&m, &d), NULL),
		  "the root is no blob of a tree");
}

Test(manifest, writes_what_it_read)
{
	cleanup_manifest struct manifest m = {0};
	cleanup_strbuf struct strbuf out = STRBUF_INIT;

	cr_assert(eq(int, parse(good, &m, NULL), 0));
	manifest_write(&m, &out);
	cr_expect(eq(str, out.buf, (char *)good));
}

Test(manifest, inlines_a_root_and_checks_it)
{
	static const char root[] = "{\"schemaVersion\":1}";
	struct manifest m = {0};
	cleanup_manifest struct manifest back = {0};
	cleanup_strbuf struct strbuf out = STRBUF_INIT;
	struct manifest none = {0};
	char *data;

	cr_assert(eq(int, parse(good, &m, NULL), 0));
	m.config.digest = digest_of_str(root);
	m.config.size = strlen(root);
	m.config.data = xstrdup(root);
	manifest_write(&m, &out);
	manifest_release(&m);
	cr_assert(eq(int, parse(out.buf, &back, NULL), 0));
	cr_assert(ne(ptr, back.config.data, NULL));
	cr_expect(eq(int, memcmp(back.config.data, root, strlen(root)), 0));

	data = strstr(out.buf, "\"data\":\"");
	cr_assert(ne(ptr, data, NULL));
	data[10] ^= 1;
	cr_expect(eq(int, parse(out.buf, &none, NULL), -EBADMSG));
}

Test(manifest, says_what_it_is_when_it_is_no_bundle)
{
	static const char *const cases[][3] = {
		{"vnd.modelops.bundle.v1", "vnd.other",
		 "application/vnd.other"},
		{"\"artifactType\":\"application/vnd.modelops.bundle.v1\",", "",
		 "something else"},
		{"\"application/vnd.modelops.bundle.root.v1+json\"",
		 "\"application/vnd.oci.image.config.v1+json\"",
		 "a container image"},
		{"\"application/vnd.modelops.bundle.root.v1+json\"",
		 "\"application/vnd.cncf.helm.config.v1+json\"",
		 "a Helm chart"},
		{"root.v1+json", "root.v2+json", "bundle.v1"},
		{"\"layers\"", "\"manifests\"", "an index"},
		{"image.manifest.v1", "image.index.v1", "bundle.v1"},
		{"\"schemaVersion\":2", "\"schemaVersion\":1", "schemaVersion"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_free char *text = changed(cases[i][0], cases[i][1]);
		cleanup_error struct error *err = NULL;
		struct manifest m = {0};

		cr_expect(eq(int, parse(text, &m, &err), -EPROTONOSUPPORT),
			  "%s", cases[i][1]);
		cr_assert(ne(ptr, err, NULL));
		cr_expect(eq(int, err->kind, ERROR_MEDIA_TYPE));
		cr_expect(ne(ptr, strstr(err->message, cases[i][2]), NULL),
			  "%s", err->message);
	}
}

Test(manifest, refuses_two_meanings_and_broken_rules)
{
	static const char *const cases[][2] = {
		{"\"layers\":", "\"manifests\":[],\"layers\":"},
		{"\"layers\":[", "\"layers\":{},\"x\":["},
		{"sha256:" D3, "sha256:" D2},
		{"sha256:" D3, "sha256:xyz"},
		{"\"size\":208", "\"size\":-1"},
		{"\"size\":208", "\"size\":2.5"},
		{"\"size\":700", "\"size\":\"700\""},
		{"{\"artifactType\"", "{\"config\":{},\"artifactType\""},
	};
	struct manifest m = {0};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_free char *text = changed(cases[i][0], cases[i][1]);

		cr_expect(eq(int, parse(text, &m, NULL), -EINVAL), "%s → %s",
			  cases[i][0], cases[i][1]);
	}
	cr_expect(eq(int, parse("", &m, NULL), -EINVAL));
	cr_expect(eq(int, parse("[]", &m, NULL), -EINVAL));
	cr_expect(eq(int, parse("{}", &m, NULL), -EPROTONOSUPPORT));
}

Test(manifest, must_be_what_the_registry_said)
{
	cleanup_manifest struct manifest m = {0};
	struct manifest none = {0};
	size_t n = strlen(good);

	cr_expect(eq(int,
		     manifest_parse(good, n, MEDIA_TYPE_INDEX, &none, NULL),
		     -EINVAL));
	cr_expect(eq(int,
		     manifest_parse(good, n, MEDIA_TYPE_MANIFEST, &m, NULL),
		     0));
}

Test(manifest, any_changed_byte_is_parsed_or_refused)
{
	size_t n = strlen(good);

	for (size_t i = 0; i < n; i++)
		for (int flip = 1; flip < 256; flip += flip) {
			cleanup_free char *text = xmemdup(good, n);
			cleanup_manifest struct manifest m = {0};
			int got;

			text[i] = (char)(text[i] ^ flip);
			got = manifest_parse(text, n, NULL, &m, NULL);
			cr_assert(got == 0 || got == -EINVAL ||
				  got == -EPROTONOSUPPORT);
		}
}
