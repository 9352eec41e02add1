/*
 * A: an answer that is understood holds a token fit for a header.
 * S: scopes that are listed, added again, change nothing.
 */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "storage/token.h"
#include "tests/fuzz/fuzz.h"

static void try_answer(const char *p, size_t n)
{
	cleanup_token_answer struct token_answer a = {0};

	if (token_answer_parse(p, n, &a, NULL) < 0) {
		assert(!a.token && !a.refresh_token);
		return;
	}
	assert(a.life_ms > 0);
	assert(*a.token && strlen(a.token) <= TOKEN_MAX);
	for (const char *s = a.token; *s; s++)
		assert(*s > ' ' && *s < 0x7f);
}

static void try_scopes(const char *p, size_t n)
{
	cleanup_free char *text = xstrndup(p, n);
	cleanup_strv char **once = NULL, **twice = NULL;

	scopes_add(&once, text);
	assert(strv_len(once) <= SCOPES_MAX);
	for (char **s = once; s && *s; s++) {
		assert(strlen(*s) <= SCOPE_MAX);
		assert(scopes_add(&twice, *s) == 0);
	}
	for (char **s = once; s && *s; s++)
		assert(scopes_add(&twice, *s) == 0);
	assert(strv_len(once) == strv_len(twice));
	for (size_t i = 0; i < strv_len(once); i++)
		assert(strcmp(once[i], twice[i]) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data;

	if (size && *p == 'A')
		try_answer(p + 1, size - 1);
	else if (size && *p == 'S')
		try_scopes(p + 1, size - 1);
	return 0;
}
