/* A text that is accepted is the one that its bytes are written as. */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_strbuf struct strbuf text = STRBUF_INIT, own = STRBUF_INIT;
	cleanup_free void *bytes = NULL, *back = NULL;
	size_t n;

	if (base64_decode((const char *)data, size, 1 << 20, &bytes, &n) == 0) {
		base64_encode(&text, bytes, n);
		assert(text.len == size);
		assert(!size || !memcmp(text.buf, data, size));
	}
	base64_encode(&own, data, size);
	if (base64_decode(strbuf_str(&own), own.len, size, &back, &n) < 0)
		abort();
	assert(n == size && (!size || !memcmp(back, data, size)));
	return 0;
}
