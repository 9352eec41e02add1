/*
 * Many threads on one fetcher: bytes right, each chunk once, every waiter told
 * once. TAP by hand, so that it runs under ThreadSanitizer.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "base/thread.h"
#include "fetching.h"
#include "tests/fakes/fakes.h"
#include "tests/lib/tap.h"

#define SOURCES 20
#define THREADS 16
#define ROUNDS  60

struct world {
	struct fetching t;
	struct source s[SOURCES];
	struct fetch_source *src[SOURCES];
	uint64_t total;
	atomic_uint wrong, told;
};

static void world_open(struct world *w, const struct fault *fault)
{
	memset(w, 0, sizeof(*w));
	fetching_open(&w->t, fault);
	for (unsigned i = 0; i < SOURCES; i++) {
		uint64_t size = i % 3 ? 1 + i * 300000u : 100 + i;

		source_init(&w->s[i], size, i);
		upload(&w->t, w->s[i].data, size);
		w->src[i] = open_source(&w->t, &w->s[i]);
		w->total += size;
	}
}

static void world_close(struct world *w)
{
	for (unsigned i = 0; i < SOURCES; i++) {
		fetch_source_close(w->src[i]);
		source_release(&w->s[i]);
	}
	fetching_close(&w->t);
}

static void random_range(struct world *w, unsigned *ret_i, uint64_t *ret_off,
			 size_t *ret_len)
{
	unsigned i = (unsigned)random_below(SOURCES);
	uint64_t size = w->s[i].spec.size;
	uint64_t off = random_below(size);

	*ret_i = i;
	*ret_off = off;
	*ret_len = (size_t)(1 + random_below(MIN(size - off, 200000u)));
}

static void *reader(void *arg)
{
	struct world *w = arg;

	for (unsigned n = 0; n < ROUNDS; n++) {
		unsigned i;
		uint64_t off;
		size_t len;

		random_range(w, &i, &off, &len);
		if (read_and_compare(&w->t, w->src[i], &w->s[i], off, len,
				     NULL))
			atomic_fetch_add(&w->wrong, 1);
	}
	return NULL;
}

static void *puller(void *arg)
{
	struct world *w = arg;

	if (fetch_whole(w->t.f, w->src, SOURCES, NULL, NULL) < 0)
		atomic_fetch_add(&w->wrong, 1);
	return NULL;
}

static void on_told(void *ctx, int result, const struct error *err)
{
	struct world *w = ctx;

	(void)err;
	if (result < 0 && result != -ECANCELED)
		atomic_fetch_add(&w->wrong, 1);
	atomic_fetch_add(&w->told, 1);
}

static void *asker(void *arg)
{
	struct world *w = arg;

	for (unsigned n = 0; n < ROUNDS; n++) {
		struct fetch_range r;
		unsigned i;
		uint64_t off;
		size_t len;

		random_range(w, &i, &off, &len);
		r = range_of(w->src[i], off, len);
		uint64_t ticket = fetch_ask(w->t.f, &r, on_told, w);
		if (n % 2)
			fetch_cancel(w->t.f, ticket);
	}
	return NULL;
}

static void run(struct world *w, void *(*fn)(void *), unsigned n,
		void *(*other)(void *), unsigned n_other)
{
	pthread_t th[64];

	for (unsigned i = 0; i < n + n_other; i++)
		if (thread_start(&th[i], "test", i < n ? fn : other, w) < 0)
			exit(99);
	for (unsigned i = 0; i < n + n_other; i++)
		pthread_join(th[i], NULL);
}

/* What came. Requests that a busy machine makes again count once. */
static uint64_t came(struct world *w)
{
	struct fetch_stats st;

	requests(&w->t); /* none is in flight */
	fetcher_stats(w->t.f, &st);
	return st.bytes_network;
}

static void readers(void)
{
	struct world w;

	world_open(&w, NULL);
	run(&w, reader, THREADS, NULL, 0);
	ok(!w.wrong, "16 readers of 20 sources get the right bytes");
	ok(came(&w) <= w.total, "no chunk comes twice");
	world_close(&w);
}

static void readers_and_pullers(void)
{
	struct world w;
	unsigned sealed = 0;

	world_open(&w, NULL);
	run(&w, reader, 8, puller, 4);
	ok(!w.wrong, "readers and whole pulls at once");
	ok(came(&w) == w.total, "every byte came once");
	for (unsigned i = 0; i < SOURCES; i++)
		sealed += content_sealed(fetch_source_content(w.src[i]));
	ok(sealed == SOURCES, "and everything is sealed");
	world_close(&w);
}

static void waiters_and_cancels(void)
{
	struct fault slow = {
		.action = FAULT_DELAY, .nth = 1, .every = true, .arg = 3};
	struct world w;

	world_open(&w, &slow);
	run(&w, asker, THREADS, reader, 4);
	world_close(&w); /* tells the rest */
	ok(w.told == THREADS * ROUNDS, "every waiter is told exactly once");
	ok(!w.wrong, "of success or of its being cancelled");
}

static void heals(void)
{
	struct fault bad = {.action = FAULT_CORRUPT, .nth = 7, .arg = 3};
	struct world w;

	world_open(&w, &bad);
	run(&w, reader, THREADS, NULL, 0);
	ok(!w.wrong, "a wrong chunk under load is healed");
	world_close(&w);
}

/*
 * A registry of which one call in 25 stalls, some of them in the middle.
 */

struct stalling {
	struct registry registry;
	struct registry *inner;
	atomic_uint calls;
};

static int stall(const struct op *op, struct error **errp)
{
	int64_t end = time_deadline_ms(2000);
	int r;

	while ((r = op_go_on(op, errp)) == 0 && time_mono_ns() < end)
		time_sleep_ms(2);
	return r;
}

static int stalling_read_blob(struct registry *r, const char *repo,
			      const struct digest *d, uint64_t size,
			      uint64_t off, uint64_t len, struct sink *sink,
			      const struct op *op, struct error **errp)
{
	struct stalling *s = (struct stalling *)r;
	unsigned n = atomic_fetch_add(&s->calls, 1);
	uint64_t head = n % 50 ? len / 2 : 0;
	int rc = 0;

	if (n % 25 == 0) {
		if (head)
			rc = s->inner->ops->read_blob(s->inner, repo, d, size,
						      off, head, sink, op,
						      errp);
		if (rc == 0)
			rc = stall(op, errp);
		if (rc < 0)
			return rc;
		off += head;
		len -= head;
	}
	return s->inner->ops->read_blob(s->inner, repo, d, size, off, len, sink,
					op, errp);
}

/* One large file, as the first of the sources. */
static void large_open(struct world *w, struct stalling *s)
{
	static const struct registry_ops ops = {.read_blob =
							stalling_read_blob};

	world_open(w, NULL);
	*s = (struct stalling){.registry.ops = &ops, .inner = w->t.registry};
	w->t.remote.registry = &s->registry;
	for (unsigned i = 0; i < SOURCES; i++) {
		fetch_source_close(w->src[i]);
		source_release(&w->s[i]);
		source_init(&w->s[i], i ? 1000 + i : 90u << 20, i);
		upload(&w->t, w->s[i].data, w->s[i].spec.size);
		w->src[i] = open_source(&w->t, &w->s[i]);
	}
}

static void *large_reader(void *arg)
{
	struct world *w = arg;

	for (unsigned n = 0; n < ROUNDS; n++)
		if (read_and_compare(&w->t, w->src[0], &w->s[0],
				     random_below((90u << 20) - 1000), 1000,
				     NULL))
			atomic_fetch_add(&w->wrong, 1);
	return NULL;
}

static void *large_asker(void *arg)
{
	struct world *w = arg;

	for (unsigned n = 0; n < ROUNDS; n++) {
		struct fetch_range r =
			range_of(w->src[0], random_below((90u << 20) - 10), 10);
		uint64_t ticket = fetch_ask(w->t.f, &r, on_told, w);

		time_sleep_ms(n % 3);
		if (n % 2)
			fetch_cancel(w->t.f, ticket);
	}
	return NULL;
}

static void stalls(void)
{
	struct fetch_stats st;
	struct stalling s;
	struct world w;

	large_open(&w, &s);
	run(&w, large_reader, 8, large_asker, 8);
	run(&w, large_reader, 4, puller, 2);
	bytes_asked(&w.t); /* none is in flight */
	fetcher_stats(w.t.f, &st);
	ok(!w.wrong,
	   "requests that stall, and are made again: bytes are right");
	ok(w.told == 8 * ROUNDS, "every waiter is told once");
	ok(st.hedged && st.hedged <= st.requests / 20, "%llu of %llu were",
	   (unsigned long long)st.hedged, (unsigned long long)st.requests);
	ok(content_sealed(fetch_source_content(w.src[0])), "it is sealed");
	world_close(&w);
}

int main(void)
{
	readers();
	readers_and_pullers();
	waiters_and_cancels();
	heals();
	stalls();
	return tap_done();
}
