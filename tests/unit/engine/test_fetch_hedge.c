/*
 * Requests that stall, against a registry that is told which ones do.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>

#include "fetching.h"

#define MIB ((uint64_t)CHUNK_SIZE)

/* Each read of a blob takes @each_ms; the @every'th, or those from @from up to
 * @to, stall after @head bytes. */
struct slow_registry {
	struct registry registry;
	struct registry *inner;
	int64_t each_ms, stall_ms;
	unsigned every, from, to;
	uint64_t head;
	int code;        /* they fail so, as soon as another call comes */
	bool wrong_then; /* the next one brings wrong bytes: until then */
	atomic_uint calls, wrong;
};

static int wait_ms(int64_t ms, const struct op *op, struct error **errp)
{
	int64_t end = time_deadline_ms(ms);
	int r;

	while ((r = op_go_on(op, errp)) == 0 && time_mono_ns() < end)
		time_sleep_ms(MIN(ms, (int64_t)2));
	return r;
}

static int stall(struct slow_registry *s, unsigned n, const struct op *op,
		 struct error **errp)
{
	int64_t end = time_deadline_ms(30000);
	int r = 0;

	if (!s->code && !s->wrong_then)
		return wait_ms(s->stall_ms, op, errp);
	while (r == 0 && time_mono_ns() < end &&
	       (s->code ? s->calls == n : !s->wrong))
		r = wait_ms(2, op, errp);
	if (r == 0)
		r = wait_ms(50, op, errp);
	return r == 0 && s->code ? error_set_errno(errp, s->code, "stalled")
				 : r;
}

struct bad_sink {
	struct sink sink;
	struct sink *inner;
};

static int bad_write(struct sink *sink, const void *p, size_t n,
		     struct error **errp)
{
	struct bad_sink *b = (struct bad_sink *)sink;
	cleanup_free unsigned char *copy = xmemdup(p, n);

	copy[0] ^= 1;
	return b->inner->write(b->inner, copy, n, errp);
}

static bool stalls(const struct slow_registry *s, unsigned n)
{
	return (s->every && n % s->every == 0) || (n >= s->from && n < s->to);
}

static int slow_read_blob(struct registry *r, const char *repo,
			  const struct digest *d, uint64_t size, uint64_t off,
			  uint64_t len, struct sink *sink, const struct op *op,
			  struct error **errp)
{
	struct slow_registry *s = (struct slow_registry *)r;
	struct bad_sink bad = {{bad_write}, sink};
	unsigned n = atomic_fetch_add(&s->calls, 1) + 1;
	uint64_t head = MIN(s->head, len);
	int rc = wait_ms(s->each_ms, op, errp);

	if (rc == 0 && s->wrong_then && n > 1 && stalls(s, n - 1)) {
		atomic_fetch_add(&s->wrong, 1);
		return s->inner->ops->read_blob(s->inner, repo, d, size, off,
						len, &bad.sink, op, errp);
	}
	if (rc == 0 && stalls(s, n)) {
		if (head)
			rc = s->inner->ops->read_blob(s->inner, repo, d, size,
						      off, head, sink, op,
						      errp);
		if (rc == 0)
			rc = stall(s, n, op, errp);
		off += head;
		len -= head;
	}
	if (rc < 0 || !len)
		return rc;
	return s->inner->ops->read_blob(s->inner, repo, d, size, off, len, sink,
					op, errp);
}

static const struct registry_ops slow_ops = {.read_blob = slow_read_blob};

struct scene {
	struct fetching t;
	struct slow_registry slow;
	struct source s;
	struct fetch_source *src;
};

static void scene_open(struct scene *sc, uint64_t chunks,
		       const struct slow_registry *how)
{
	fetching_open(&sc->t, NULL);
	sc->slow = *how;
	sc->slow.registry.ops = &slow_ops;
	sc->slow.inner = sc->t.registry;
	sc->t.remote.registry = &sc->slow.registry;
	source_init(&sc->s, chunks * MIB, 7);
	upload(&sc->t, sc->s.data, sc->s.spec.size);
	sc->src = open_source(&sc->t, &sc->s);
}

static void scene_close(struct scene *sc)
{
	fetch_source_close(sc->src);
	fetching_close(&sc->t);
	source_release(&sc->s);
}

/* In ms. */
static int64_t timed_read(struct scene *sc, uint64_t i)
{
	int64_t from = time_mono_ns();

	cr_assert(eq(int,
		     read_and_compare(&sc->t, sc->src, &sc->s, i * MIB + 5,
				      1000, NULL),
		     0));
	return (time_mono_ns() - from) / NS_PER_MS;
}

/* Readings from the last chunk to the first are no stream. */
static int64_t slowest_but_one_percent(struct scene *sc, unsigned n)
{
	unsigned over = 0, most = n / 100;
	int64_t *ms = xcalloc(n, sizeof(*ms)), p99 = 0;

	for (unsigned i = 0; i < n; i++)
		ms[i] = timed_read(sc, n - 1 - i);
	for (p99 = 0; p99 < 100000; p99++) {
		over = 0;
		for (unsigned i = 0; i < n; i++)
			over += ms[i] > p99;
		if (over <= most)
			break;
	}
	free(ms);
	return p99;
}

Test(fetch_hedge, a_few_that_stall_do_not_make_the_p99)
{
	struct slow_registry how = {
		.each_ms = 2, .every = 40, .stall_ms = 2000};
	struct fetch_stats st;
	struct scene sc;

	scene_open(&sc, 100, &how);
	int64_t p99 = slowest_but_one_percent(&sc, 100);
	fetcher_stats(sc.t.f, &st);
	cr_log_info("p99 %lld ms, %llu made again, %llu of them first",
		    (long long)p99, (unsigned long long)st.hedged,
		    (unsigned long long)st.hedged_won);
	cr_expect(lt(i64, p99, 1000));
	cr_expect(ge(u64, st.hedged_won, 1));
	cr_expect(le(u64, st.hedged, st.requests / 20));
	cr_expect(eq(u64, st.bytes_network, 100 * MIB), "each chunk once");
	scene_close(&sc);
}

/* What is normal is known, and a request may be made again: also when that
 * happened already, on a busy machine. */
static void warm(struct scene *sc)
{
	struct fetch_stats st = {0};

	for (unsigned n = 0; n < 20 * (1 + st.hedged); n++) {
		cr_assert(lt(uint, n, 60));
		timed_read(sc, 79 - n);
		fetcher_stats(sc->t.f, &st);
	}
	requests(&sc->t); /* none is in flight */
}

/* The next @n calls stall. */
static void arm(struct scene *sc, unsigned n)
{
	sc->slow.from = atomic_load(&sc->slow.calls) + 1;
	sc->slow.to = sc->slow.from + n;
}

Test(fetch_hedge, the_rest_of_a_run_comes_by_the_second_request)
{
	struct slow_registry how = {.stall_ms = 60000, .head = 2 * MIB + 100};
	struct fetch_stats st;
	struct scene sc;

	scene_open(&sc, 80, &how);
	warm(&sc);
	arm(&sc, 1);
	fetcher_stats(sc.t.f, &st);
	uint64_t before = st.bytes_network;
	int64_t from = time_mono_ns();
	cr_assert(eq(int,
		     read_and_compare(&sc.t, sc.src, &sc.s, 0, 4 * MIB, NULL),
		     0));
	cr_expect(lt(i64, time_mono_ns() - from, 30 * NS_PER_S));
	fetcher_stats(sc.t.f, &st);
	cr_expect(ge(u64, st.hedged, 1));
	cr_expect(ge(u64, st.hedged_won, 1));
	cr_expect(eq(u64, st.bytes_network, before + 4 * MIB),
		  "each chunk once");
	scene_close(&sc);
}

Test(fetch_hedge, a_store_that_stalls_for_everybody_is_not_asked_twice)
{
	struct slow_registry how = {.stall_ms = 1000};
	struct fetch_stats st;
	struct scene sc;

	scene_open(&sc, 80, &how);
	warm(&sc);
	arm(&sc, 1000);
	for (uint64_t i = 0; i < 3; i++)
		timed_read(&sc, 9 - i);
	fetcher_stats(sc.t.f, &st);
	cr_expect(le(u64, st.hedged, st.requests / 20));
	cr_expect(ge(u64, st.hedged, 1));
	scene_close(&sc);
}

Test(fetch_hedge, wrong_bytes_of_a_second_request_are_nobodys)
{
	struct slow_registry how = {.wrong_then = true};
	struct fetch_stats st, before;
	struct scene sc;

	scene_open(&sc, 80, &how);
	warm(&sc);
	fetcher_stats(sc.t.f, &before);
	arm(&sc, 1);
	timed_read(&sc, 9); /* the first one has it */
	fetcher_stats(sc.t.f, &st);
	cr_expect(ge(u64, st.hedged, before.hedged + 1));
	cr_expect(eq(u64, st.hedged_won, before.hedged_won));
	cr_expect(eq(u64, st.chunks_bad, 1));
	cr_expect(eq(uint, sc.slow.wrong, 1));
	scene_close(&sc);
}

Test(fetch_hedge, a_first_request_that_fails_leaves_it_to_the_second)
{
	struct slow_registry how = {.code = ECONNRESET};
	struct fetch_stats st;
	struct scene sc;

	scene_open(&sc, 80, &how);
	warm(&sc);
	sc.slow.each_ms = 300; /* the second one is not there before it fails */
	arm(&sc, 1);
	timed_read(&sc, 9);
	fetcher_stats(sc.t.f, &st);
	cr_expect(ge(u64, st.hedged, 1));
	cr_expect(eq(u64, st.failures, 0));
	scene_close(&sc);
}

/* Until so many calls came. */
static void await_calls(struct scene *sc, unsigned n)
{
	for (unsigned i = 0; i < 3000 && sc->slow.calls < n; i++)
		time_sleep_ms(10);
	cr_assert(ge(uint, sc->slow.calls, n));
}

Test(fetch_hedge, nobody_waits_for_a_request_that_is_cancelled)
{
	struct slow_registry how = {.stall_ms = 60000};
	struct scene sc;

	scene_open(&sc, 80, &how);
	warm(&sc);
	arm(&sc, 1000);

	struct fetch_range r = range_of(sc.src, 4 * MIB, 10);
	struct told told;
	int64_t from = time_mono_ns();

	told_init(&told);
	uint64_t ticket = fetch_ask(sc.t.f, &r, told_done, &told);
	await_calls(&sc, sc.slow.from + 1); /* both are under way */
	fetch_cancel(sc.t.f, ticket);
	cr_expect(eq(int, told_wait(&told, 10000), -ECANCELED));
	requests(&sc.t); /* none is in flight */
	cr_expect(lt(i64, time_mono_ns() - from, 50 * NS_PER_S));
	told_release(&told);
	scene_close(&sc);
}

/* A reader far inside a run of the background that stalls has a request of his
 * own, and what lies between comes by others. */
Test(fetch_hedge, a_run_that_is_cut_while_two_bring_it)
{
	struct slow_registry how = {.stall_ms = 60000};
	struct scene sc;

	scene_open(&sc, 80, &how);
	warm(&sc);
	arm(&sc, 2);

	struct fetch_line *l = fetch_line_new(sc.t.f);
	unsigned first = sc.slow.from;
	cr_assert(
		eq(int, fetch_line_put(l, sc.src, 0, 16 * MIB, NULL, NULL), 0));
	await_calls(&sc, first + 1);
	cr_expect(eq(int,
		     read_and_compare(&sc.t, sc.src, &sc.s, 12 * MIB, 10, NULL),
		     0));
	cr_expect(eq(int,
		     read_and_compare(&sc.t, sc.src, &sc.s, 14 * MIB, 10, NULL),
		     0));
	fetch_line_free(l);
	scene_close(&sc);
}
