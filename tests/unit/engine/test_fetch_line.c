/*
 * Lines: the order of their requests, and readers beside them. One thread for
 * all that is no demand, so that an order is to be seen.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "fetching.h"

#include "base/thread.h"

#define MIB    ((uint64_t)CHUNK_SIZE)
#define CHUNKS 40

/* Notes where reads begin, in chunks, and when; holds one back. */
struct watched {
	struct registry r;
	struct registry *inner;
	struct mutex lock;
	struct cond changed;
	uint64_t began[100];
	int64_t began_ns[100];
	unsigned n;
	uint64_t held; /* reads from this chunk on wait; UINT64_MAX: none */
	int fail;      /* reads of it fail */
};

static struct fetching t;
static struct source s;
static struct watched w;
static struct fetch_source *src;
static struct fetch_line *line;

static int watched_read(struct registry *r, const char *repo,
			const struct digest *d, uint64_t size, uint64_t off,
			uint64_t len, struct sink *sink, const struct op *op,
			struct error **errp)
{
	int ret = 0, fail;

	mutex_lock(&w.lock);
	w.began_ns[w.n] = time_mono_ns();
	w.began[w.n++] = off / MIB;
	cond_broadcast(&w.changed);
	while (w.held == off / MIB && !op_cancelled(op))
		cond_wait_until(&w.changed, &w.lock,
				time_mono_ns() + 10 * NS_PER_MS);
	fail = w.fail;
	mutex_unlock(&w.lock);
	if (fail)
		return error_set(errp, fail, "told to");
	while (len && ret == 0) {
		uint64_t n = MIN(len, MIB);

		if (op_cancelled(op))
			return error_set(errp, ECANCELED, "cancelled");
		ret = w.inner->ops->read_blob(w.inner, repo, d, size, off, n,
					      sink, op, errp);
		off += n;
		len -= n;
	}
	return ret;
}

static const struct registry_ops watched_ops = {.read_blob = watched_read};

static void set_up(void)
{
	fetching_open(&t, NULL);
	source_init(&s, CHUNKS * MIB, 7);
	upload(&t, s.data, s.spec.size);
	w = (struct watched){
		.r.ops = &watched_ops, .inner = t.registry, .held = UINT64_MAX};
	mutex_init(&w.lock, LOCK_FAKE);
	cond_init(&w.changed);
	t.remote.registry = &w.r;
	fetcher_free(t.f);
	t.f = fetcher_new(&(struct fetcher_options){
		.cache = t.fx.c, .threads = 1, .io_ms = 30000});
	src = open_source(&t, &s);
	line = fetch_line_new(t.f);
}

static void clean_up(void)
{
	if (line)
		fetch_line_free(line);
	fetch_source_close(src);
	fetching_close(&t);
	source_release(&s);
}

TestSuite(fetch_line, .init = set_up, .fini = clean_up);

static void put(uint64_t first, uint64_t n)
{
	cr_assert(
		eq(int,
		   fetch_line_put(line, src, first * MIB, n * MIB, NULL, NULL),
		   0));
}

static unsigned began(void)
{
	mutex_lock(&w.lock);
	unsigned n = w.n;
	mutex_unlock(&w.lock);
	return n;
}

static void await_began(unsigned n)
{
	mutex_lock(&w.lock);
	while (w.n < n)
		cond_wait(&w.changed, &w.lock);
	mutex_unlock(&w.lock);
}

/* From now on that of chunk @i. */
static void hold(uint64_t i)
{
	mutex_lock(&w.lock);
	w.held = i;
	w.fail = 0;
	cond_broadcast(&w.changed);
	mutex_unlock(&w.lock);
}

static void let_go(void)
{
	hold(UINT64_MAX);
}

static void expect_order(const uint64_t *want, unsigned n)
{
	cr_assert(eq(uint, began(), n));
	for (unsigned i = 0; i < n; i++)
		cr_expect(eq(u64, w.began[i], want[i]), "request %u", i);
}

static void expect_local(uint64_t first, uint64_t n)
{
	unsigned before = began();

	/* Backwards, or it would be read ahead. */
	for (uint64_t i = first + n; i-- > first;)
		cr_expect(eq(int,
			     read_and_compare(&t, src, &s, i * MIB, 4096, NULL),
			     0));
	cr_expect(eq(uint, began(), before), "chunks %d", (int)first);
}

Test(fetch_line, asks_in_its_order)
{
	static const uint64_t want[] = {9, 3, 30, 0, 5};

	put(9, 1);
	put(3, 2);
	put(30, 4);
	put(9, 1); /* again: nothing */
	put(0, 1);
	put(4, 2);
	cr_assert(eq(int, fetch_line_wait(line, NULL, NULL), 0));
	expect_order(want, ARRAY_SIZE(want));
	cr_expect(content_has(fetch_source_content(src), 33));
	cr_expect(not(content_has(fetch_source_content(src), 34)));
}

Test(fetch_line, leaves_nothing_to_ask_for)
{
	put(0, CHUNKS);
	cr_assert(eq(int, fetch_line_wait(line, NULL, NULL), 0));
	cr_expect(eq(uint, began(), 2), "32 chunks each at most");
	expect_local(0, CHUNKS);
}

Test(fetch_line, refuses_what_lies_outside)
{
	cr_expect(eq(int,
		     fetch_line_put(line, src, CHUNKS * MIB, 1, NULL, NULL),
		     -EINVAL));
	cr_expect(eq(int,
		     fetch_line_put(line, src, MIB, CHUNKS * MIB, NULL, NULL),
		     -EINVAL));
	cr_expect(
		eq(int, fetch_line_put(line, src, 0, 0, NULL, NULL), -EINVAL));
}

Test(fetch_line, tells_a_failure_once_and_goes_on)
{
	cleanup_error struct error *err = NULL;

	w.fail = EIO;
	put(3, 1);
	cr_expect(eq(int, fetch_line_wait(line, NULL, &err), -EIO));
	cr_expect(err != NULL);
	let_go();
	cr_expect(eq(int, fetch_line_wait(line, NULL, NULL), 0));
	put(3, 1);
	cr_expect(eq(int, fetch_line_wait(line, NULL, NULL), 0));
	expect_local(3, 1);
}

Test(fetch_line, ends_with_what_it_has)
{
	w.held = 2;
	put(2, 1);
	for (uint64_t i = 10; i < 15; i++)
		put(i, 1);
	await_began(1);
	fetch_line_free(line);
	line = NULL;
	/* Whoever asks now is served, and nothing else is asked for. */
	cr_expect(eq(int, read_and_compare(&t, src, &s, 20 * MIB, 1, NULL), 0));
	cr_expect(eq(uint, began(), 2));
	let_go();
}

Test(fetch_line, can_be_cancelled)
{
	atomic_bool cancelled = true;
	struct op op = {.deadline_ns = TIME_NEVER, .cancelled = &cancelled};

	w.held = 2;
	put(2, 1);
	cr_expect(eq(int, fetch_line_wait(line, &op, NULL), -ECANCELED));
	op = (struct op){.deadline_ns = time_deadline_ms(20)};
	cr_expect(eq(int, fetch_line_wait(line, &op, NULL), -ETIMEDOUT));
	let_go();
}

/* A reader of chunk 20, who waits until he is let go. */
static struct told reader;

static void begin_reading(void)
{
	struct fetch_range r = range_of(src, 20 * MIB, 100);

	w.held = 20;
	told_init(&reader);
	fetch_ask(t.f, &r, told_done, &reader);
	await_began(1);
}

Test(fetch_line, begins_nothing_while_a_reader_waits)
{
	int64_t since = time_mono_ns(), let_go_ns;

	begin_reading();
	put(2, 1);
	time_sleep_ms(100); /* in which it would begin */
	let_go_ns = time_mono_ns();
	let_go();
	cr_expect(eq(int, told_wait(&reader, 5000), 0));
	cr_expect(eq(int, fetch_line_wait(line, NULL, NULL), 0));
	cr_assert(eq(uint, began(), 2));
	cr_expect(ge(i64, w.began_ns[1],
		     MIN(let_go_ns, since + 500 * NS_PER_MS)));
	expect_local(2, 1);
	told_release(&reader);
}

Test(fetch_line, does_not_starve)
{
	int64_t since = time_mono_ns();

	begin_reading();
	put(2, 1);
	put(5, 1);
	cr_expect(eq(int, fetch_line_wait(line, NULL, NULL), 0));
	cr_expect(time_mono_ns() - since >= 900 * NS_PER_MS);
	let_go();
	cr_expect(eq(int, told_wait(&reader, 5000), 0));
	told_release(&reader);
}

Test(fetch_line, a_reader_gets_ahead_of_what_is_queued)
{
	w.held = 0;
	for (uint64_t i = 0; i < 7; i++)
		put(2 * i, 1);
	await_began(1);
	cr_expect(eq(int, read_and_compare(&t, src, &s, 12 * MIB, 1, NULL), 0));
	cr_expect(eq(uint, began(), 2));
	let_go();
	cr_expect(eq(int, fetch_line_wait(line, NULL, NULL), 0));
	cr_expect(eq(uint, began(), 7));
}

Test(fetch_line, a_reader_waits_for_no_long_row_that_is_queued)
{
	static const uint64_t want[] = {0, 30, 2, 31, 36};

	w.held = 0;
	put(0, 1);
	await_began(1);
	put(2, 32);
	put(36, 1);
	cr_expect(eq(int, read_and_compare(&t, src, &s, 30 * MIB, 1, NULL), 0));
	cr_expect(eq(uint, began(), 2));
	let_go();
	cr_expect(eq(int, fetch_line_wait(line, NULL, NULL), 0));
	expect_order(want, ARRAY_SIZE(want));
	expect_local(2, 32);
}

Test(fetch_line, brings_what_a_reader_cut_off)
{
	static const uint64_t want[] = {0, 25, 26};

	w.held = 0;
	put(0, 32);
	await_began(1);
	cr_expect(eq(int, read_and_compare(&t, src, &s, 25 * MIB, 1, NULL), 0));
	let_go();
	cr_expect(eq(int, fetch_line_wait(line, NULL, NULL), 0));
	expect_order(want, ARRAY_SIZE(want));
	expect_local(0, 32);
}

/* The row goes back to the queue, as the cache does not take it now; but not
 * out of it. */
Test(fetch_line, a_reader_is_not_given_up_with_a_row)
{
	struct fetch_range r = range_of(src, 3 * MIB, 100);
	int gate;

	w.held = 2;
	put(2, 3);
	await_began(1);
	gate = hold_gate(&t);
	told_init(&reader);
	fetch_ask(t.f, &r, told_done, &reader);
	let_go();
	fetch_line_free(line);
	line = NULL;
	cr_expect(eq(int, told_wait(&reader, 10000), 0));
	told_release(&reader);
	close(gate);
}

Test(fetch_line, what_is_whole_is_sealed_before_more_begins)
{
	cleanup_source struct source other = {0};
	struct fetch_source *first;

	source_init(&other, 2 * MIB, 8);
	upload(&t, other.data, other.spec.size);
	first = open_source(&t, &other);
	w.held = 0;
	cr_assert(eq(int, fetch_line_put(line, first, 0, 2 * MIB, NULL, NULL),
		     0));
	await_began(1);
	put(2, 1);
	put(5, 1);
	hold(2);
	await_began(2);
	cr_expect(content_sealed(fetch_source_content(first)));
	let_go();
	cr_expect(eq(int, fetch_line_wait(line, NULL, NULL), 0));
	fetch_source_close(first);
}
