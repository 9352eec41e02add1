/* Whatever the text: what is found stands in it, and sections that are found
 * are found again. */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "storage/ini.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const keys[] = {"aws_access_key_id", "region", "s3",
					   "k"};
	cleanup_ini struct ini *ini = NULL;

	if (ini_parse((const char *)data, size, &ini, NULL) < 0) {
		assert(!ini);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *v = ini_get(ini, "default", keys[i], NULL);

		if (!v)
			continue;
		assert(ini_has(ini, "default"));
		assert(memmem(data, size, v, strlen(v)));
	}
	return 0;
}
