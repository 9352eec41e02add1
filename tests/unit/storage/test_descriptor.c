#include "storage/descriptor.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/alloc.h"
#include "base/strbuf.h"

#define HEX_HELLO                          \
	"2cf24dba5fb0a30e26e83b2ac5b9e29e" \
	"1b161e5c1fa7425e73043362938b9824"

static int parse(const char *text, struct descriptor *ret)
{
	cleanup_error struct error *err = NULL;
	cleanup_json struct json *doc = NULL;
	int r = json_parse(text, strlen(text), &JSON_LIMITS_DOC, &doc, &err);

	cr_assert(eq(int, r, 0), "%s", err ? err->message : "");
	r = descriptor_parse(doc, ret, &err);
	cr_expect(eq(int, r < 0, err != NULL));
	return r;
}

static int refusal(const char *text)
{
	cleanup_descriptor struct descriptor d = {0};
	int r = parse(text, &d);

	cr_expect(r == 0 || d.media_type == NULL,
		  "nothing is returned on failure");
	return r;
}

static char *written(const struct descriptor *d)
{
	struct strbuf out = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &out);
	descriptor_write(&w, NULL, d);
	return strbuf_steal(&out);
}

Test(descriptor, reads_all_that_it_knows_and_writes_it_canonically)
{
	cleanup_descriptor struct descriptor d = {0};
	cleanup_free char *text = NULL;

	cr_assert(eq(int, 0,
		     parse("{\"size\":5,\"urls\":[\"http://x/\"],"
			   "\"mediaType\":\"application/x.y+json\","
			   "\"artifactType\":\"a/b\",\"platform\":{},"
			   "\"data\":\"aGVsbG8=\","
			   "\"annotations\":{\"z\":\"1\",\"a\":\"2\"},"
			   "\"digest\":\"sha256:" HEX_HELLO "\"}",
			   &d)));
	cr_expect(eq(u64, d.size, 5));
	cr_expect(eq(str, d.artifact_type, "a/b"));
	cr_expect(eq(str, (char *)descriptor_annotation(&d, "a"), "2"));
	cr_expect(eq(str, (char *)descriptor_annotation(&d, "z"), "1"));
	cr_expect(eq(ptr, (void *)descriptor_annotation(&d, "m"), NULL));
	cr_expect(memcmp(d.data, "hello", 5) == 0);
	text = written(&d);
	cr_expect(eq(str, text,
		     "{\"annotations\":{\"a\":\"2\",\"z\":\"1\"},"
		     "\"artifactType\":\"a/b\",\"data\":\"aGVsbG8=\","
		     "\"digest\":\"sha256:" HEX_HELLO "\","
		     "\"mediaType\":\"application/x.y+json\",\"size\":5}"));
}

#define WITH(members)                                           \
	"{\"mediaType\":\"a/b\",\"digest\":\"sha256:" HEX_HELLO \
	"\",\"size\":5" members "}"

Test(descriptor, refuses_what_is_missing_or_of_another_type)
{
	static const char *const bad[] = {
		"[]",
		"\"x\"",
		"{}",
		"{\"mediaType\":\"a/b\",\"size\":5}",
		"{\"mediaType\":\"a/b\",\"digest\":\"sha256:" HEX_HELLO "\"}",
		"{\"digest\":\"sha256:" HEX_HELLO "\",\"size\":5}",
		"{\"mediaType\":7,\"digest\":\"sha256:" HEX_HELLO
		"\",\"size\":5}",
		"{\"mediaType\":\"ab\",\"digest\":\"sha256:" HEX_HELLO
		"\",\"size\":5}",
		"{\"mediaType\":\"a/b c\",\"digest\":\"sha256:" HEX_HELLO
		"\",\"size\":5}",
		"{\"mediaType\":\"a/b\",\"digest\":\"sha256:" HEX_HELLO
		"\",\"size\":-1}",
		"{\"mediaType\":\"a/b\",\"digest\":\"sha256:" HEX_HELLO
		"\",\"size\":5.5}",
		"{\"mediaType\":\"a/b\",\"digest\":\"sha256:" HEX_HELLO
		"\",\"size\":9223372036854775808}",
		"{\"mediaType\":\"a/b\",\"digest\":\"sha256:../../x\","
		"\"size\":5}",
		WITH(",\"annotations\":[]"),
		WITH(",\"annotations\":{\"a\":1}"),
		WITH(",\"artifactType\":1"),
		WITH(",\"artifactType\":\"nope\""),
		WITH(",\"data\":1"),
		WITH(",\"data\":\"aGVsbG8\""),
		WITH(",\"data\":\"aGVsbG8h\""),
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect(eq(int, refusal(bad[i]), -EINVAL), "%s", bad[i]);
	cr_expect(eq(int, refusal(WITH("")), 0));
}

Test(descriptor, refuses_inlined_content_that_is_not_what_the_digest_says)
{
	cr_expect(eq(int, refusal(WITH(",\"data\":\"aGVsbGE=\"")), -EBADMSG));
	cr_expect(eq(int, refusal(WITH(",\"data\":\"aGVsbG8=\"")), 0));
}

Test(descriptor, tells_an_unknown_digest_algorithm_from_a_malformed_one)
{
	char text[300];

	snprintf(
		text, sizeof(text),
		"{\"mediaType\":\"a/b\",\"size\":1,\"digest\":\"sha512:%s%s\"}",
		HEX_HELLO, HEX_HELLO);
	cr_expect(eq(int, refusal(text), -EPROTONOSUPPORT));
}

Test(descriptor, keeps_annotations_sorted_replaces_and_removes)
{
	cleanup_descriptor struct descriptor d = {0}, copy = {0};
	cleanup_free char *text = NULL;

	d.media_type = xstrdup("a/b");
	d.digest = digest_of_str("hello");
	descriptor_annotate(&d, "k3", "c");
	descriptor_annotate(&d, "k1", "a");
	descriptor_annotate(&d, "k2", "b");
	descriptor_annotate(&d, "k2", "B");
	descriptor_annotate(&d, "k4", "d");
	descriptor_annotate(&d, "k3", NULL);
	descriptor_annotate(&d, "none", NULL);
	descriptor_copy(&copy, &d);
	descriptor_annotate(&d, "k1", NULL);
	text = written(&copy);
	cr_expect(eq(str, text,
		     "{\"annotations\":{\"k1\":\"a\",\"k2\":\"B\",\"k4\":\"d\"}"
		     ",\"digest\":\"sha256:" HEX_HELLO
		     "\",\"mediaType\":\"a/b\",\"size\":0}"));
}
