/*
 * A pointer that is accepted is its own normal form; a URL that is accepted
 * prints as one that is accepted and prints the same. The input is a URL and,
 * after the first newline, a Location to resolve against it.
 */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/uri.h"
#include "tests/fuzz/fuzz.h"

static void fuzz_pointer(const char *s, size_t n)
{
	cleanup_pointer_uri struct pointer_uri u = {0}, v = {0};
	cleanup_free char *text = xstrndup(s, n), *normal = NULL;
	bool accepted = pointer_uri_parse(s, n, &u, NULL) == 0;

	if (accepted)
		assert(u.key && *u.key && strlen(text) == n);
	if (pointer_uri_normalize(text, &normal, NULL) < 0) {
		assert(!accepted);
		return;
	}
	assert(!accepted || !strcmp(normal, text));
	if (pointer_uri_parse(normal, strlen(normal), &v, NULL) < 0)
		abort();
}

static void check_url(const struct http_url *u)
{
	cleanup_free char *s = http_url_str(u), *t = NULL;
	cleanup_free char *shown = http_url_redacted(u);
	cleanup_http_url struct http_url again = {0};

	assert(u->port && u->path[0] == '/' && *u->host);
	assert(!strpbrk(u->host, "/@?#\\% "));
	for (const char *p = s; *p; p++)
		assert((unsigned char)*p > 0x20 && (unsigned char)*p < 0x7f);
	assert(!u->query || strstr(shown, "?<redacted>"));
	/* Encoding may have made it longer than a URL may be. */
	if (http_url_parse(s, &again, NULL) < 0) {
		assert(strlen(s) > 16384);
		return;
	}
	t = http_url_str(&again);
	assert(!strcmp(s, t) && http_url_same_origin(u, &again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_free char *text = xstrndup((const char *)data, size);
	cleanup_http_url struct http_url u = {0}, v = {0};
	char *ref = strchr(text, '\n');

	fuzz_pointer((const char *)data, size);
	if (ref)
		*ref++ = '\0';
	if (http_url_parse(text, &u, NULL) < 0)
		return 0;
	check_url(&u);
	if (ref && http_url_resolve(&u, ref, &v, NULL) == 0)
		check_url(&v);
	return 0;
}
