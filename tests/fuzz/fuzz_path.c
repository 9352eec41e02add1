/*
 * A path that is accepted has only plain components; a link's target never
 * leaves the bundle; what is printed has no control byte.
 */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/escape.h"
#include "base/path.h"
#include "tests/fuzz/fuzz.h"

static void check_path(const char *s, size_t n)
{
	unsigned depth = 1;

	assert(n && n <= PATH_BYTES_MAX && s[0] != '/' && s[n - 1] != '/');
	assert(!memchr(s, '\0', n) && !memchr(s, '\\', n));
	assert(!memmem(s, n, "//", 2) && !memmem(s, n, "/../", 4));
	for (size_t i = 0; i < n; i++) {
		depth += s[i] == '/';
		assert((unsigned char)s[i] >= 0x20 && s[i] != 0x7f);
	}
	assert(depth <= PATH_DEPTH_MAX);
}

static void check_nfc(const char *s, size_t n)
{
	cleanup_free char *nfc = NULL, *again = NULL, *fold = NULL;

	if (path_to_nfc(s, n, &nfc, NULL) < 0)
		return;
	assert(utf8_valid(nfc, strlen(nfc)));
	if (path_to_nfc(nfc, strlen(nfc), &again, NULL) < 0 ||
	    strcmp(nfc, again) != 0 || path_casefold(s, n, &fold, NULL) < 0)
		abort();
}

/* Walks the target from @depth folders below the top. */
static void check_target(const char *s, size_t n, unsigned depth)
{
	long at = depth;

	while (n) {
		const char *slash = memchr(s, '/', n);
		size_t len = slash ? (size_t)(slash - s) : n;

		at += len == 2 && !memcmp(s, "..", 2) ? -1 : 1;
		assert(at >= 0 && len);
		s += slash ? len + 1 : len;
		n -= slash ? len + 1 : len;
	}
}

static void check_escape(const char *s, size_t n)
{
	cleanup_strbuf struct strbuf out = STRBUF_INIT;

	escape_add(&out, s, n);
	assert(utf8_valid(strbuf_str(&out), out.len));
	for (size_t i = 0; i < out.len; i++)
		assert((unsigned char)out.buf[i] >= 0x20 && out.buf[i] != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *s = (const char *)data;

	check_escape(s, size);
	check_nfc(s, size);
	if (!path_flaw(s, size))
		check_path(s, size);
	for (unsigned depth = 0; depth < 4; depth++)
		if (!link_target_flaw(s, size, depth))
			check_target(s, size, depth);
	return 0;
}
