/*
 * A manifest that is accepted finds all its blobs, and is written as one that
 * is accepted and is written the same.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/root.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_strbuf struct strbuf a = STRBUF_INIT, b = STRBUF_INIT;
	cleanup_manifest struct manifest m = {0}, again = {0};

	if (manifest_parse(data, size, NULL, &m, NULL) < 0) {
		assert(!m.layers && !m.by_digest);
		return 0;
	}
	for (size_t i = 0; i < m.n_layers; i++)
		assert(manifest_blob(&m, &m.layers[i].digest) == &m.layers[i]);
	manifest_write(&m, &a);
	if (manifest_parse(a.buf, a.len, MEDIA_TYPE_MANIFEST, &again, NULL) < 0)
		abort();
	manifest_write(&again, &b);
	assert(a.len == b.len && memcmp(a.buf, b.buf, a.len) == 0);
	return 0;
}
