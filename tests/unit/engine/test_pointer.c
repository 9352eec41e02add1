#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "engine/pointer.h"

static const char good[] =
	"{\"created_at\":\"1970-01-01T00:00:00Z\",\"fulfilled\":false,"
	"\"layer\":\"data\",\"local_path\":null,"
	"\"original_path\":\"data/fit/a.parquet\",\"schema_version\":1,"
	"\"sha256\":\""
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	"\",\"size\":123,\"tier\":\"cool\",\"uri\":\"s3://bucket/key\"}";

static int parse(const char *text, struct error **errp)
{
	cleanup_pointer struct pointer p = {0};

	return pointer_parse(text, strlen(text), &p, errp);
}

Test(pointer, writes_what_it_read)
{
	cleanup_pointer struct pointer p = {0};
	cleanup_strbuf struct strbuf out = STRBUF_INIT;

	cr_assert(eq(int, pointer_parse(good, strlen(good), &p, NULL), 0));
	cr_expect(eq(str, p.original_path, "data/fit/a.parquet"));
	cr_expect(eq(u64, p.size, 123));
	cr_expect(eq(str, p.tier, "cool"));
	cr_expect(digest_equal(&p.sha256, &DIGEST_EMPTY));
	cr_expect(not(p.fulfilled));
	pointer_write(&p, &out);
	cr_expect(eq(str, (char *)strbuf_str(&out), (char *)good));
}

Test(pointer, lies_below_mops)
{
	cleanup_free char *p = pointer_path("data/fit/a.parquet");

	cr_expect(eq(str, p, ".mops/ptr/data/fit/a.parquet.json"));
}

/* @good with @from replaced by @to. */
static int parse_with(const char *from, const char *to)
{
	const char *p = strstr(good, from);
	cleanup_free char *text = NULL;

	cr_assert(p != NULL, "%s", from);
	text = xasprintf("%.*s%s%s", (int)(p - good), good, to,
			 p + strlen(from));
	return parse(text, NULL);
}

Test(pointer, malformed_ones_are_refused)
{
	static const struct {
		const char *from, *to;
		int want;
	} cases[] = {
		{"\"schema_version\":1", "\"schema_version\":2",
		 -EPROTONOSUPPORT},
		{"data/fit/a.parquet", "../a", -EINVAL},
		{"data/fit/a.parquet", "/etc/passwd", -EINVAL},
		{"data/fit/a.parquet", ".mops/x", -EINVAL},
		{"\"size\":123", "\"size\":-1", -EINVAL},
		{"\"size\":123", "\"size\":1e3", -EINVAL},
		{"\"size\":123,", "", -EINVAL},
		{"s3://bucket/key", "http://bucket/key", -EINVAL},
		{"s3://bucket/key", "s3://bucket/key?x", -EINVAL},
		{"e3b0", "E3B0", -EINVAL},
		{"e3b0", "3b0", -EINVAL},
		{"{\"created_at\"", "[\"created_at\"", -EINVAL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		cr_expect(eq(int, parse_with(cases[i].from, cases[i].to),
			     cases[i].want),
			  "%s", cases[i].to);
}
