/* What is accepted has one canonical form, and that is a fixed point. */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "tests/fuzz/fuzz.h"

static void walk(const struct json *v)
{
	int64_t n;

	(void)json_int(v, &n);
	(void)json_get(v, "a");
	assert(json_type(v) != JSON_STRING || json_str(v));
	assert(json_type(v) != JSON_NUMBER || json_number_text(v));
	for (const struct json *c = json_first(v); c; c = json_next(c)) {
		assert(json_type(v) != JSON_OBJECT ||
		       json_get(v, json_key(c)) == c);
		walk(c);
	}
}

static void write_canonical(const struct json *j, struct strbuf *out)
{
	struct json_writer w;

	json_writer_init(&w, out);
	json_put_value(&w, NULL, j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct json_limits lim = {.max_bytes = 1 << 20,
					.max_values = 2000};
	cleanup_strbuf struct strbuf a = STRBUF_INIT, b = STRBUF_INIT;
	cleanup_json struct json *j = NULL, *again = NULL;
	cleanup_error struct error *err = NULL;

	if (json_parse(data, size, &lim, &j, &err) < 0) {
		assert(err && !j);
		return 0;
	}
	walk(j);
	write_canonical(j, &a);
	/* Escapes may grow sixfold. */
	if (json_parse(a.buf, a.len, &JSON_LIMITS_BIG, &again, NULL) < 0)
		abort();
	write_canonical(again, &b);
	assert(a.len == b.len && !memcmp(a.buf, b.buf, a.len));
	return 0;
}
