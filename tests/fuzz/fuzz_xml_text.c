/* What is found lies within the document, and so does what follows it. */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "storage/xml_text.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {"Code", "Part", "UploadId", "E"};
	const char *p = (const char *)data;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct xml_span rest = {p, size}, one;
		char text[32];

		while (rest.n && xml_find(rest, names[i], &one, &rest)) {
			assert(one.p >= p && one.p + one.n <= p + size);
			assert(rest.p > one.p && rest.p + rest.n == p + size);
		}
		if (size && xml_text((struct xml_span){p, size}, names[i], text,
				     sizeof(text)))
			assert(strlen(text) < sizeof(text));
	}
	return 0;
}
