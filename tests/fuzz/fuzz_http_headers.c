/*
 * Header fields that we act on: what is accepted keeps its promises. The first
 * byte chooses the field.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "storage/http.h"
#include "storage/http_headers.h"
#include "tests/fuzz/fuzz.h"

static void content_range(const char *s)
{
	struct content_range a, b;
	char text[128];

	if (!http_parse_content_range(s, &a))
		return;
	assert(a.first <= a.last && a.last < a.total);
	if (a.total == UINT64_MAX)
		snprintf(text, sizeof(text), "bytes %llu-%llu/*",
			 (unsigned long long)a.first,
			 (unsigned long long)a.last);
	else
		snprintf(text, sizeof(text), "bytes %llu-%llu/%llu",
			 (unsigned long long)a.first,
			 (unsigned long long)a.last,
			 (unsigned long long)a.total);
	if (!http_parse_content_range(text, &b))
		abort();
	assert(a.first == b.first && a.last == b.last && a.total == b.total);
}

static void upload_range(const char *s)
{
	uint64_t next = 0, again = 0;
	char text[64];

	if (!http_parse_upload_range(s, &next) || !next)
		return;
	assert(next > 1 && next <= (uint64_t)INT64_MAX + 1);
	snprintf(text, sizeof(text), "bytes=0-%llu",
		 (unsigned long long)next - 1);
	if (!http_parse_upload_range(text, &again))
		abort();
	assert(again == next);
}

static void media_type(const char *s)
{
	cleanup_free char *a = http_media_type(s);
	cleanup_free char *b = http_media_type(a);

	assert(!a || (b && strcmp(a, b) == 0 && strchr(a, '/')));
}

static void line(const char *s, size_t n)
{
	struct http_headers h = {0};

	if (http_headers_add(&h, s, n)) {
		assert(h.n == 1 && *h.v[0].name);
		assert(http_header_find(h.v, h.n, h.v[0].name) == h.v[0].value);
	}
	http_headers_release(&h);
}

static void texts(const char *s)
{
	cleanup_free char *next = http_link_next(s);
	cleanup_free char *text = http_warning_text(s);
	uint64_t n = 0;

	assert(!next || !strchr(next, '>'));
	assert(!text || *text);
	if (http_parse_length(s, &n))
		assert(n <= INT64_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_free char *s = NULL;
	int64_t ms;

	if (!size)
		return 0;
	s = xstrndup((const char *)data + 1, size - 1);
	switch (data[0] % 6) {
	case 0:
		content_range(s);
		break;
	case 1:
		ms = http_parse_retry_after(s, 1700000000);
		assert(ms >= -1 && ms <= 86400000);
		break;
	case 2:
		media_type(s);
		break;
	case 3:
		texts(s);
		break;
	case 5:
		upload_range(s);
		break;
	default:
		line((const char *)data + 1, size - 1);
	}
	return 0;
}
