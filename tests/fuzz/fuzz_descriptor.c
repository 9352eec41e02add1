/*
 * A descriptor that is accepted is written as one that is accepted and is
 * written the same.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strbuf.h"
#include "storage/descriptor.h"
#include "tests/fuzz/fuzz.h"

static int parse(const void *p, size_t n, struct descriptor *ret)
{
	cleanup_json struct json *doc = NULL;
	int r = json_parse(p, n, &JSON_LIMITS_DOC, &doc, NULL);

	return r < 0 ? r : descriptor_parse(doc, ret, NULL);
}

static void write_to(struct strbuf *out, const struct descriptor *d)
{
	struct json_writer w;

	json_writer_init(&w, out);
	descriptor_write(&w, NULL, d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_descriptor struct descriptor d = {0}, copy = {0}, again = {0};
	cleanup_strbuf struct strbuf a = STRBUF_INIT, b = STRBUF_INIT;

	if (parse(data, size, &d) < 0) {
		assert(!d.media_type && !d.annotations && !d.data);
		return 0;
	}
	assert(d.size <= INT64_MAX);
	descriptor_copy(&copy, &d);
	write_to(&a, &copy);
	if (parse(a.buf, a.len, &again) < 0)
		abort();
	write_to(&b, &again);
	assert(a.len == b.len && memcmp(a.buf, b.buf, a.len) == 0);
	return 0;
}
