/*
 * Challenges that are understood, written out with everything quoted, are
 * understood the same.
 */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strbuf.h"
#include "storage/challenge.h"
#include "tests/fuzz/fuzz.h"

static void write_quoted(struct strbuf *out, const char *s)
{
	strbuf_addc(out, '"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			strbuf_addc(out, '\\');
		strbuf_addc(out, *s);
	}
	strbuf_addc(out, '"');
}

static void write_all(struct strbuf *out, const struct challenges *cs)
{
	for (size_t i = 0; i < cs->n; i++) {
		const struct challenge *c = &cs->v[i];

		strbuf_addf(out, "%s%s", i ? ", " : "", c->scheme);
		if (c->token68)
			strbuf_addf(out, " %s", c->token68);
		for (size_t j = 0; j < c->n_params; j++) {
			strbuf_addf(out, "%s%s=", j ? ", " : " ",
				    c->params[j].name);
			write_quoted(out, c->params[j].value);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_free char *field = xstrndup((const char *)data, size);
	cleanup_challenges struct challenges one = {0}, two = {0};
	cleanup_strbuf struct strbuf a = STRBUF_INIT, b = STRBUF_INIT;

	challenges_parse(&one, field);
	assert(one.n <= CHALLENGES_MAX);
	write_all(&a, &one);
	if (challenges_parse(&two, strbuf_str(&a)) < 0)
		abort();
	write_all(&b, &two);
	assert(strcmp(strbuf_str(&a), strbuf_str(&b)) == 0);
	return 0;
}
