/*
 * A pointer file that is accepted is written as one that is accepted, means the
 * same and is written the same; its path stays below .mops/ptr.
 */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/path.h"
#include "engine/pointer.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_strbuf struct strbuf a = STRBUF_INIT, b = STRBUF_INIT;
	cleanup_pointer struct pointer p = {0}, again = {0};
	cleanup_free char *path = NULL;

	if (pointer_parse(data, size, &p, NULL) < 0) {
		assert(!p.original_path && !p.uri);
		return 0;
	}
	assert(p.size <= INT64_MAX);
	path = pointer_path(p.original_path);
	assert(strncmp(path, ".mops/ptr/", 10) == 0);
	assert(!path_flaw(path + 10, strlen(path) - 10 - strlen(".json")));
	pointer_write(&p, &a);
	if (pointer_parse(a.buf, a.len, &again, NULL) < 0)
		abort();
	assert(pointer_same_target(&p, &again));
	assert(p.fulfilled == again.fulfilled);
	pointer_write(&again, &b);
	assert(a.len == b.len && memcmp(a.buf, b.buf, a.len) == 0);
	return 0;
}
