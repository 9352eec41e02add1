/*
 * Requests that stall, against a registry that is told which ones do.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>

#include "fetching.h"

#define MIB ((uint64_t)CHUNK_SIZE)

/* Each read of a blob takes @each_ms, the @every'th (or all after it) stalls
 * for @stall_ms, after @head bytes. */
struct slow_registry {
	struct registry registry;
	struct registry *inner;
	int64_t each_ms, stall_ms;
	unsigned every, after;
	uint64_t head;
	int code;        /* what a stalled one ends with; 0: it goes on */
	bool wrong_then; /* the one after a stalled one brings wrong bytes */
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
	if (s->after)
		return n > s->after;
	return s->every && n % s->every == 0;
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
			rc = wait_ms(s->stall_ms, op, errp);
		if (rc == 0 && s->code)
			rc = error_set_errno(errp, s->code, "stalled");
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

/* One chunk, of those that no stream leads to. In ms. */
static int64_t timed_read(struct scene *sc, uint64_t i)
{
	int64_t from = time_mono_ns();

	cr_assert(eq(int,
		     read_and_compare(&sc->t, sc->src, &sc->s, i * 2 * MIB + 5,
				      1000, NULL),
		     0));
	return (time_mono_ns() - from) / NS_PER_MS;
}

/* Readings of even chunks from the last to the first are no stream. */
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

Test(fetch_again, one_of_fifty_that_stalls_does_not_make_the_p99)
{
	struct slow_registry how = {
		.each_ms = 2, .every = 50, .stall_ms = 2000};
	struct fetch_stats st;
	struct scene sc;

	scene_open(&sc, 400, &how);
	int64_t p99 = slowest_but_one_percent(&sc, 200);
	fetcher_stats(sc.t.f, &st);
	cr_log_info("p99 %lld ms, %llu made again, %llu of them first",
		    (long long)p99, (unsigned long long)st.reissued,
		    (unsigned long long)st.reissued_won);
	cr_expect(lt(i64, p99, 1000));
	cr_expect(ge(u64, st.reissued_won, 3));
	cr_expect(le(u64, st.reissued, 1 + st.requests / 20));
	cr_expect(eq(u64, st.bytes_network, 200 * MIB), "each chunk once");
	scene_close(&sc);
}

Test(fetch_again, the_rest_of_a_run_comes_by_the_second_request)
{
	struct slow_registry how = {
		.after = 16, .stall_ms = 60000, .head = 2 * MIB + 100};
	struct fetch_stats st;
	struct scene sc;

	scene_open(&sc, 60, &how);
	for (uint64_t i = 0; i < 16; i++)
		timed_read(&sc, 29 - i);
	sc.slow.after = 0; /* the seventeenth, and none after it */
	sc.slow.every = 17;
	int64_t from = time_mono_ns();
	cr_assert(eq(int,
		     read_and_compare(&sc.t, sc.src, &sc.s, 0, 4 * MIB, NULL),
		     0));
	cr_expect(lt(i64, time_mono_ns() - from, 30 * NS_PER_S));
	fetcher_stats(sc.t.f, &st);
	cr_expect(ge(u64, st.reissued, 1));
	cr_expect(ge(u64, st.reissued_won, 1));
	cr_expect(eq(u64, st.bytes_network, 20 * MIB), "each chunk once");
	scene_close(&sc);
}

Test(fetch_again, a_store_that_stalls_for_everybody_is_not_asked_twice)
{
	struct slow_registry how = {.after = 20, .stall_ms = 1500};
	struct fetch_stats st;
	struct scene sc;

	scene_open(&sc, 60, &how);
	for (uint64_t i = 0; i < 20; i++)
		timed_read(&sc, 29 - i);
	for (uint64_t i = 20; i < 25; i++)
		timed_read(&sc, 29 - i);
	fetcher_stats(sc.t.f, &st);
	cr_expect(le(u64, st.reissued, 1 + st.requests / 20));
	cr_expect(ge(u64, st.reissued, 1));
	scene_close(&sc);
}

Test(fetch_again, wrong_bytes_of_a_second_request_are_nobodys)
{
	struct slow_registry how = {
		.every = 20, .stall_ms = 1500, .wrong_then = true};
	struct fetch_stats st;
	struct scene sc;

	scene_open(&sc, 60, &how);
	for (uint64_t i = 0; i < 19; i++)
		timed_read(&sc, 29 - i);
	cr_expect(ge(i64, timed_read(&sc, 9), 1000), "the first one has it");
	fetcher_stats(sc.t.f, &st);
	cr_expect(ge(u64, st.reissued, 1));
	cr_expect(eq(u64, st.reissued_won, 0));
	cr_expect(eq(u64, st.chunks_bad, 1));
	cr_expect(eq(uint, sc.slow.wrong, 1));
	scene_close(&sc);
}

Test(fetch_again, a_first_request_that_fails_leaves_it_to_the_second)
{
	struct slow_registry how = {
		.after = 20, .stall_ms = 400, .code = ECONNRESET};
	struct fetch_stats st;
	struct scene sc;

	scene_open(&sc, 60, &how);
	for (uint64_t i = 0; i < 16; i++)
		timed_read(&sc, 29 - i);
	sc.slow.after = 0; /* the next one fails, after its second began */
	sc.slow.every = 17;
	sc.slow.each_ms = 700;
	sc.slow.stall_ms = 0;
	sc.slow.head = 0;
	cr_expect(ge(i64, timed_read(&sc, 9), 700));
	fetcher_stats(sc.t.f, &st);
	cr_expect(ge(u64, st.reissued, 1));
	cr_expect(eq(u64, st.failures, 0));
	scene_close(&sc);
}

Test(fetch_again, nobody_waits_for_a_request_that_is_cancelled)
{
	struct slow_registry how = {.after = 20, .stall_ms = 60000};
	struct scene sc;

	scene_open(&sc, 60, &how);
	for (uint64_t i = 0; i < 20; i++)
		timed_read(&sc, 29 - i);

	struct fetch_range r = range_of(sc.src, 4 * MIB, 10);
	struct told told;
	int64_t from = time_mono_ns();

	told_init(&told);
	uint64_t ticket = fetch_ask(sc.t.f, &r, told_done, &told);
	time_sleep_ms(500); /* both are under way */
	fetch_cancel(sc.t.f, ticket);
	cr_expect(eq(int, told_wait(&told, 10000), -ECANCELED));
	cr_expect(ge(uint, sc.slow.calls, 22));
	cr_expect(gt(uint, requests(&sc.t), 0)); /* none is in flight */
	cr_expect(lt(i64, time_mono_ns() - from, 30 * NS_PER_S));
	told_release(&told);
	scene_close(&sc);
}
