/* Secrets that end are renewed in the background, once for all who wait. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "storage/keeper.h"
#include "tests/conformance/conformance.h"
#include "tests/lib/tap.h"

struct source {
	atomic_uint fetches;
	atomic_int life_s; /* -1: none, 0: endless */
	atomic_int code;
	int64_t delay_ms;
};

static int fetch(void *ctx, struct secret **ret, const struct op *op,
		 struct error **errp)
{
	struct source *src = ctx;
	unsigned n = atomic_fetch_add(&src->fetches, 1) + 1;
	int life = atomic_load(&src->life_s), code = atomic_load(&src->code);

	time_sleep_ms(src->delay_ms);
	if (code)
		return error_set(errp, code, "no luck");
	if (life < 0)
		return 0;
	*ret = secret_new();
	(*ret)->token = xasprintf("%u", n);
	if (life)
		(*ret)->ends_s = time_wall_s() + life;
	return 1;
}

static int get(struct keeper *k, char ret[16])
{
	cleanup_secret_ref struct secret *s = NULL;
	int r = keeper_get(k, &s, NULL, NULL);

	snprintf(ret, 16, "%s", r > 0 ? s->token : "");
	return r;
}

static void fetches_once(struct conformance *c)
{
	struct source src = {0};
	struct keeper *k = keeper_new(fetch, &src);
	char token[16];

	conformance_begin(c);
	check(c, get(k, token) == 1 && !strcmp(token, "1"), "first");
	check(c, get(k, token) == 1 && !strcmp(token, "1"), "again");
	check(c, src.fetches == 1, "%u fetches", src.fetches);
	keeper_free(k);
	conformance_end(c, "what does not end is fetched once");
}

static int one_reader(void *ctx, unsigned i)
{
	char token[16];

	return get(ctx, token) == 1 && !strcmp(token, "1") ? 0 : -1;
}

static void fetches_once_for_many(struct conformance *c)
{
	struct source src = {.delay_ms = 100};
	struct keeper *k = keeper_new(fetch, &src);

	conformance_begin(c);
	check(c, conformance_threads(8, one_reader, k) == 0, "a reader failed");
	check(c, src.fetches == 1, "%u fetches", src.fetches);
	keeper_free(k);
	conformance_end(c, "many that wait are served by one fetch");
}

/* Lives for 10 s: after 8 s the thread fetches, and who reads meanwhile gets
 * the old one at once although the fetch takes long. */
static void renews_ahead(struct conformance *c)
{
	struct source src = {.life_s = 10};
	struct keeper *k = keeper_new(fetch, &src);
	int64_t end = time_deadline_ms(15000);
	int64_t longest = 0;
	char token[16] = "";

	conformance_begin(c);
	check(c, get(k, token) == 1, "first");
	atomic_store(&src.life_s, 1000);
	src.delay_ms = 500;
	while (strcmp(token, "2") != 0 && time_mono_ns() < end) {
		int64_t began = time_mono_ns();

		check(c, get(k, token) == 1, "a reader found none");
		longest = MAX(longest, time_mono_ns() - began);
		time_sleep_ms(10);
	}
	check(c, !strcmp(token, "2"), "token '%s'", token);
	check(c, longest < 400 * NS_PER_MS, "a reader waited %lld ms",
	      (long long)(longest / NS_PER_MS));
	keeper_free(k);
	conformance_end(c, "a secret is renewed ahead of its end");
}

static void remembers_none(struct conformance *c)
{
	struct source src = {.life_s = -1};
	struct keeper *k = keeper_new(fetch, &src);
	char token[16];

	conformance_begin(c);
	check(c, get(k, token) == 0 && get(k, token) == 0, "found one");
	check(c, src.fetches == 1, "%u fetches", src.fetches);
	keeper_free(k);
	conformance_end(c, "that there is none is remembered for a while");
}

static void failures_are_not_kept(struct conformance *c)
{
	struct source src = {.code = ENOTCONN};
	struct keeper *k = keeper_new(fetch, &src);
	char token[16];

	conformance_begin(c);
	check(c, get(k, token) == -ENOTCONN, "no error");
	atomic_store(&src.code, 0);
	check(c, get(k, token) == 1, "the failure stayed");
	keeper_free(k);
	conformance_end(c, "a failure is not kept");
}

static void replaces_refused_ones(struct conformance *c)
{
	struct source src = {0};
	struct keeper *k = keeper_new(fetch, &src);
	cleanup_secret_ref struct secret *s = NULL;
	char token[16];

	conformance_begin(c);
	check(c, keeper_get(k, &s, NULL, NULL) == 1, "first");
	check(c, !keeper_replace(k, s, NULL), "replaced at once");
	time_sleep_ms(1100);
	check(c, keeper_replace(k, s, NULL), "not replaced");
	check(c, get(k, token) == 1 && !strcmp(token, "2"), "'%s'", token);
	check(c, keeper_replace(k, s, NULL) && src.fetches == 2,
	      "one that is newer already was fetched again");
	keeper_free(k);
	conformance_end(c, "a refused secret is replaced, once a second");
}

int main(void)
{
	struct conformance c = {.label = "keeper"};

	fetches_once(&c);
	fetches_once_for_many(&c);
	renews_ahead(&c);
	remembers_none(&c);
	failures_are_not_kept(&c);
	replaces_refused_ones(&c);
	return conformance_done(&c);
}
