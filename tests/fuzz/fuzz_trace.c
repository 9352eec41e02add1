/*
 * A trace that is accepted is written back byte for byte, and its paths are
 * such as a bundle can have.
 */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/path.h"
#include "engine/trace.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_strbuf struct strbuf again = STRBUF_INIT;
	struct trace_record rec;
	struct trace_reader t;
	int r = trace_begin(&t, data, size, NULL);

	if (r < 0) {
		assert(trace_check(data, size, NULL) == r);
		return 0;
	}
	strbuf_adds(&again, TRACE_HEAD);
	while ((r = trace_next(&t, &rec, NULL)) > 0) {
		size_t before = again.len;

		assert(rec.count > 0 && rec.first <= UINT32_MAX - rec.count);
		assert(!path_flaw(rec.path, rec.path_len));
		trace_write(&rec, &again);
		assert(again.len - before <= TRACE_LINE_MAX);
	}
	assert(trace_check(data, size, NULL) == r);
	assert(again.len <= size);
	assert(memcmp(again.buf, data, again.len) == 0);
	assert(r < 0 || again.len == size);
	return 0;
}
