#include "storage/layout_index.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/alloc.h"

#define HEX(c) c c c c c c c c
#define A      HEX("aaaaaaaa")
#define B      HEX("bbbbbbbb")

#define ENTRY(hex, more)                                       \
	"{\"digest\":\"sha256:" hex "\",\"mediaType\":\"" /**/ \
		MEDIA_TYPE_MANIFEST "\"" more ",\"size\":2}"
#define NAMED(hex, name)                                                     \
	"{\"annotations\":{\"" ANNOTATION_REF_NAME "\":\"" name "\"},"       \
	"\"digest\":\"sha256:" hex "\",\"mediaType\":\"" MEDIA_TYPE_MANIFEST \
	"\",\"size\":2}"
#define INDEX(entries) "{\"manifests\":[" entries "],\"schemaVersion\":2}"

static void must_parse(const char *text, struct layout_index *idx)
{
	cleanup_error struct error *err = NULL;
	int r = layout_index_parse(text, strlen(text), idx, &err);

	cr_assert(eq(int, r, 0), "%s", err ? err->message : "");
}

static void expect_text(const struct layout_index *idx, const char *want)
{
	cleanup_strbuf struct strbuf out = STRBUF_INIT;

	cr_assert(eq(int, layout_index_write(idx, &out, NULL), 0));
	cr_expect(eq(str, out.buf, (char *)want));
}

static struct descriptor manifest(const char *hex)
{
	struct descriptor d = {.media_type = MEDIA_TYPE_MANIFEST, .size = 2};

	cr_assert(eq(int, digest_parse_hex(hex, 64, &d.digest, NULL), 0));
	return d;
}

Test(layout_index, starts_empty_and_gets_entries)
{
	cleanup_layout_index struct layout_index idx = LAYOUT_INDEX_INIT;
	struct descriptor a = manifest(A), b = manifest(B);

	layout_index_set(&idx, "x:1", &a);
	layout_index_set(&idx, NULL, &b);
	cr_expect(idx.changed);
	expect_text(&idx, "{\"manifests\":[" NAMED(A, "x:1") "," ENTRY(
				  B, "") "],\"mediaType\":\"" MEDIA_TYPE_INDEX
					 "\",\"schemaVersion\":2}");
}

Test(layout_index, keeps_what_other_tools_wrote)
{
	static const char foreign[] =
		"{\"annotations\":{\"k\":\"v\"},\"extra\":[1,{}],"
		"\"manifests\":["
		"{\"annotations\":{\"" ANNOTATION_REF_NAME "\":\"v1\"},"
		"\"digest\":\"sha256:" A "\",\"mediaType\":\"a/b\","
		"\"platform\":{\"os\":\"linux\"},\"size\":2},"
		"{\"digest\":\"sha512:" A A "\",\"mediaType\":\"a/b\","
		"\"size\":3}],\"schemaVersion\":2}";
	cleanup_layout_index struct layout_index idx = LAYOUT_INDEX_INIT;

	must_parse(foreign, &idx);
	cr_expect(eq(sz, idx.n, 2));
	cr_expect(not(idx.entries[1].usable));
	expect_text(&idx, foreign);
	cr_expect(layout_index_untag(&idx, "v1"));
	expect_text(&idx,
		    "{\"annotations\":{\"k\":\"v\"},\"extra\":[1,{}],"
		    "\"manifests\":["
		    "{\"digest\":\"sha256:" A "\",\"mediaType\":\"a/b\","
		    "\"platform\":{\"os\":\"linux\"},\"size\":2},"
		    "{\"digest\":\"sha512:" A A "\",\"mediaType\":\"a/b\","
		    "\"size\":3}],\"schemaVersion\":2}");
}

Test(layout_index, moves_a_name_and_keeps_the_old_manifest)
{
	cleanup_layout_index struct layout_index idx = LAYOUT_INDEX_INIT;
	struct descriptor b = manifest(B);

	must_parse(INDEX(NAMED(A, "x:1")), &idx);
	layout_index_set(&idx, "x:1", &b);
	expect_text(&idx, INDEX(ENTRY(A, "") "," NAMED(B, "x:1")));
}

Test(layout_index, takes_an_unnamed_entry_before_it_adds_one)
{
	cleanup_layout_index struct layout_index idx = LAYOUT_INDEX_INIT;
	struct descriptor a = manifest(A);

	must_parse(INDEX(ENTRY(A, "")), &idx);
	layout_index_set(&idx, "x:1", &a);
	expect_text(&idx, INDEX(NAMED(A, "x:1")));
	layout_index_set(&idx, "x:2", &a);
	expect_text(&idx, INDEX(NAMED(A, "x:1") "," NAMED(A, "x:2")));
	cr_expect(layout_index_untag(&idx, "x:1"));
	expect_text(&idx, INDEX(NAMED(A, "x:2")));
	cr_expect(layout_index_untag(&idx, "x:2"));
	expect_text(&idx, INDEX(ENTRY(A, "")));
}

Test(layout_index, says_nothing_changed_when_nothing_did)
{
	cleanup_layout_index struct layout_index idx = LAYOUT_INDEX_INIT;
	struct descriptor a = manifest(A);

	must_parse(INDEX(NAMED(A, "x:1")), &idx);
	layout_index_set(&idx, "x:1", &a);
	layout_index_set(&idx, NULL, &a);
	cr_expect(not(layout_index_untag(&idx, "x:2")));
	cr_expect(not(idx.changed));
}

Test(layout_index, refuses_a_name_of_two_manifests)
{
	cleanup_layout_index struct layout_index idx = LAYOUT_INDEX_INIT;
	const struct layout_entry *e = NULL;

	must_parse(INDEX(NAMED(A, "x:1") "," NAMED(B, "x:1") "," NAMED(
			   A, "x:2") "," NAMED(A, "x:2")),
		   &idx);
	cr_expect(eq(int, layout_index_find(&idx, "x:1", &e, NULL), -EINVAL));
	cr_expect(eq(int, layout_index_find(&idx, "x:2", &e, NULL), 0));
	cr_expect(eq(int, layout_index_find(&idx, "x:3", &e, NULL), -ENOENT));
}

Test(layout_index, refuses_malformed_documents)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		"{\"schemaVersion\":2}",
		"{\"schemaVersion\":1,\"manifests\":[]}",
		"{\"schemaVersion\":\"2\",\"manifests\":[]}",
		"{\"schemaVersion\":2,\"manifests\":{}}",
		"{\"schemaVersion\":2,\"manifests\":[1]}",
		"{\"schemaVersion\":2,\"manifests\":[{}]}",
		"{\"schemaVersion\":2,\"manifests\":[],\"manifests\":[]}",
		"{\"schemaVersion\":2,\"manifests\":[]}x",
		"{\"schemaVersion\":2,\"manifests\":[],\"mediaType\":\"a/b\"}",
		"{\"schemaVersion\":2,\"manifests\":[],\"mediaType\":1}",
	};
	cleanup_layout_index struct layout_index idx = LAYOUT_INDEX_INIT;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect(eq(int, -EINVAL,
			     layout_index_parse(bad[i], strlen(bad[i]), &idx,
						NULL)),
			  "%s", bad[i]);
	must_parse("{\"schemaVersion\":2,\"manifests\":null}", &idx);
}

Test(layout_index, never_writes_what_it_could_not_read_again)
{
	cleanup_layout_index struct layout_index idx = LAYOUT_INDEX_INIT;
	cleanup_strbuf struct strbuf out = STRBUF_INIT;
	struct descriptor d = manifest(A);
	char name[40];
	int i;

	/* 6 values each: over 200,000 in all. */
	idx.cap = 40000;
	idx.entries = xcalloc(idx.cap, sizeof(*idx.entries));
	for (i = 0; i < 35000; i++) {
		struct layout_entry *e = &idx.entries[idx.n++];

		snprintf(name, sizeof(name), "x:%d", i);
		e->usable = true;
		e->desc.media_type = xstrdup("a/b");
		e->desc.digest = d.digest;
		descriptor_annotate(&e->desc, ANNOTATION_REF_NAME, name);
	}
	cr_expect(eq(int, layout_index_write(&idx, &out, NULL), -EFBIG));
}
