/*
 * A root that is accepted is written as one that is accepted and is written the
 * same.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/root.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_strbuf struct strbuf a = STRBUF_INIT, b = STRBUF_INIT;
	cleanup_root struct root r = {0}, again = {0};

	if (root_parse(data, size, &r, NULL) < 0) {
		assert(!r.layers && !r.roles);
		return 0;
	}
	assert(r.n_layers && r.n_roles);
	root_write(&r, &a);
	if (root_parse(a.buf, a.len, &again, NULL) < 0)
		abort();
	root_write(&again, &b);
	assert(a.len == b.len && memcmp(a.buf, b.buf, a.len) == 0);
	return 0;
}
