/*
 * Input: a pattern, a NUL, a path. A bundle's glob agrees with a matcher that
 * tries everything (where there is no set in the pattern); an ignore file of
 * the same text gives some verdict.
 */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/path.h"
#include "engine/glob.h"
#include "engine/ignore.h"
#include "tests/fuzz/fuzz.h"

static bool try_all(const char *p, const char *s, bool at_start);

/* Two stars or more between slashes; *@ret_n is how many. */
static bool is_deep(const char *p, bool at_start, size_t *ret_n)
{
	*ret_n = strspn(p, "*");
	return at_start && *ret_n >= 2 && (!p[*ret_n] || p[*ret_n] == '/');
}

static bool try_deep(const char *rest, const char *s)
{
	if (!*rest)
		return *s != '\0';
	for (;;) {
		if (try_all(rest + 1, s, true))
			return true;
		s = strchr(s, '/');
		if (!s)
			return false;
		s++;
	}
}

static bool try_all(const char *p, const char *s, bool at_start)
{
	size_t n;

	if (!*p)
		return !*s;
	if (is_deep(p, at_start, &n))
		return try_deep(p + n, s);
	if (*p == '*') {
		for (;; s++) {
			if (try_all(p + 1, s, false))
				return true;
			if (!*s || *s == '/')
				return false;
		}
	}
	if (!*s || (*p == '?' ? *s == '/' : *p != *s))
		return false;
	return try_all(p + 1, s + 1, *p == '/');
}

#define STARS_MAX 6

/* Trying everything takes for ever on long ones, and on many stars. */
static bool can_try_all(const char *pattern, const char *path)
{
	size_t stars = 0;

	for (const char *p = pattern; *p; p++)
		stars += *p == '*';
	return stars <= STARS_MAX && strlen(pattern) <= 16 &&
	       strlen(path) <= 24;
}

static bool is_plain(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s & 0x80 || *s == '[')
			return false;
	return true;
}

static void check_ignore(const char *text, size_t n, const char *path)
{
	struct ignore *ig = NULL;

	if (ignore_parse(text, n, "f", &ig, NULL) < 0) {
		assert(!ig);
		return;
	}
	for (int dir = 0; dir < 2; dir++)
		assert(ignore_match(ig, path, strlen(path), dir) <=
		       IGNORE_TAKE);
	ignore_free(ig);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	size_t n = strnlen(text, size);
	cleanup_free char *pattern = xstrndup(text, n);
	cleanup_free char *path =
		n < size ? xstrndup(text + n + 1, size - n - 1) : xstrdup("a");
	cleanup_glob struct glob *g = NULL;
	bool match;

	check_ignore(text, size, path);
	check_ignore(text, n, path);
	if (glob_compile(pattern, &g, NULL) < 0)
		return 0;
	match = glob_match(g, path, strlen(path));
	if (can_try_all(pattern, path) && is_plain(pattern) && is_plain(path) &&
	    !path_flaw(path, strlen(path)))
		assert(match == try_all(pattern, path, true));
	return 0;
}
