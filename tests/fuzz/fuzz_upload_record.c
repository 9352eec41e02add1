/*
 * A record that is understood, written again, is understood the same.
 */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "storage/upload_record.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_http_url struct http_url one = {0}, two = {0};
	cleanup_free char *a = NULL;
	cleanup_free char *b = NULL;
	cleanup_free char *line = NULL;

	if (upload_record_parse((const char *)data, size, &one) < 0)
		return 0;
	a = http_url_str(&one);
	line = xasprintf("%s\n", a);
	/* Escapes make it longer, perhaps longer than a record may be. */
	if (upload_record_parse(line, strlen(line), &two) < 0) {
		assert(strlen(line) > size);
		return 0;
	}
	b = http_url_str(&two);
	assert(strcmp(a, b) == 0);
	return 0;
}
