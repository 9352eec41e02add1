/* A digest that is accepted prints as it was written. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/digest.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_error struct error *err = NULL;
	struct digest d;
	int r = digest_parse((const char *)data, size, &d, &err);

	if (r == 0) {
		assert(size == DIGEST_STR_LEN);
		assert(!memcmp(digest_to_str(&d).str, data, size));
	} else {
		assert(r == -EINVAL || r == -EPROTONOSUPPORT);
		assert(err && err->code == -r);
	}
	return 0;
}
