#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/thread.h"
#include "base/time.h"
#include "cache/internal.h"
#include "fetching.h"
#include "tests/fakes/fakes.h"

#define MIB ((uint64_t)CHUNK_SIZE)

struct scene {
	struct fetching t;
	struct source s;
	struct fetch_source *src;
};

static void scene_open(struct scene *sc, uint64_t size, const struct fault *ft)
{
	fetching_open(&sc->t, ft);
	source_init(&sc->s, size, 42);
	upload(&sc->t, sc->s.data, size);
	sc->src = open_source(&sc->t, &sc->s);
}

static void scene_close(struct scene *sc)
{
	fetch_source_close(sc->src);
	fetching_close(&sc->t);
	source_release(&sc->s);
}

static int scene_read(struct scene *sc, uint64_t off, size_t len,
		      struct error **errp)
{
	return read_and_compare(&sc->t, sc->src, &sc->s, off, len, errp);
}

static int scene_whole(struct scene *sc, const struct op *op,
		       struct error **errp)
{
	return fetch_whole(sc->t.f, &sc->src, 1, op, errp);
}

Test(fetch_faults, a_wrong_chunk_is_fetched_once_more)
{
	struct fault ft = {.action = FAULT_CORRUPT, .nth = 1, .arg = 5};
	struct fetch_stats st;
	struct scene sc;

	scene_open(&sc, 6 * MIB, &ft);
	cr_assert(eq(int, scene_read(&sc, 0, 3 * MIB, NULL), 0));
	fetcher_stats(sc.t.f, &st);
	cr_expect(eq(u64, st.chunks_bad, 1));
	cr_expect(eq(u64, st.bytes_network, 3 * MIB));
	cr_expect(eq(uint, requests(&sc.t), 2));
	scene_close(&sc);
}

Test(fetch_faults, a_wrong_chunk_in_the_middle_keeps_what_came_before)
{
	struct fault ft = {
		.action = FAULT_CORRUPT, .nth = 1, .arg = 4 * MIB + 9};
	struct scene sc;

	scene_open(&sc, 6 * MIB, &ft);
	cr_assert(eq(int, scene_whole(&sc, NULL, NULL), 0));
	cr_expect(eq(uint, requests(&sc.t), 2));
	cr_expect(lt(u64, bytes_asked(&sc.t), 8 * MIB));
	scene_close(&sc);
}

Test(fetch_faults, twice_wrong_names_digest_and_chunk)
{
	struct fault ft = {.action = FAULT_CORRUPT, .nth = 1, .every = true};
	cleanup_error struct error *err = NULL, *again = NULL;
	struct scene sc;

	scene_open(&sc, 6 * MIB, &ft);
	cr_assert(eq(int, scene_read(&sc, 2 * MIB, 10, &err), -EBADMSG));
	cr_expect(eq(int, err->kind, ERROR_VALIDATION));
	cr_expect(strstr(err->message, "chunk 2 of") != NULL);
	cr_expect(strstr(err->message, digest_to_str(&sc.s.spec.digest).str) !=
		  NULL);
	cr_expect(eq(uint, requests(&sc.t), 2));
	cr_assert(eq(int, scene_read(&sc, 2 * MIB, 10, &again), -EBADMSG));
	cr_expect(eq(uint, requests(&sc.t), 2), "remembered for a second");
	scene_close(&sc);
}

Test(fetch_faults, a_source_with_a_wrong_chunk_is_not_whole)
{
	struct fault ft = {.action = FAULT_CORRUPT, .nth = 1, .every = true};
	struct scene sc;

	scene_open(&sc, 3 * MIB, &ft);
	cr_expect(eq(int, scene_whole(&sc, NULL, NULL), -EBADMSG));
	cr_expect(eq(uint, count_files(&sc.t.fx, "blobs"), 0));
	scene_close(&sc);
}

Test(fetch_faults, a_stream_that_ends_early_is_continued)
{
	struct fault ft = {.action = FAULT_SHORTEN, .nth = 1, .arg = 1};
	struct scene sc;

	scene_open(&sc, 6 * MIB, &ft);
	cr_assert(eq(int, scene_whole(&sc, NULL, NULL), 0));
	cr_expect(eq(uint, requests(&sc.t), 2));
	scene_close(&sc);
}

Test(fetch_faults, a_stream_that_always_ends_early_fails)
{
	struct fault ft = {
		.action = FAULT_SHORTEN, .nth = 1, .every = true, .arg = 1};
	cleanup_error struct error *err = NULL;
	struct scene sc;

	scene_open(&sc, 6 * MIB, &ft);
	cr_assert(eq(int, scene_read(&sc, 0, 10, &err), -EIO));
	cr_expect(eq(int, err->kind, ERROR_DOWNLOAD));
	scene_close(&sc);
}

Test(fetch_faults, a_failure_is_remembered_for_a_second)
{
	struct fault ft = {.action = FAULT_FAIL, .nth = 1, .code = EACCES};
	struct scene sc;

	scene_open(&sc, 2 * MIB, &ft);
	cr_expect(eq(int, scene_read(&sc, 0, 10, NULL), -EACCES));
	cr_expect(eq(int, scene_read(&sc, 0, 10, NULL), -EACCES));
	cr_expect(eq(uint, requests(&sc.t), 1));
	time_sleep_ms(1050);
	cr_expect(eq(int, scene_read(&sc, 0, 10, NULL), 0));
	scene_close(&sc);
}

Test(fetch_faults, an_inner_blob_that_is_missing_is_no_missing_file)
{
	struct fault ft = {.action = FAULT_FAIL, .nth = 1, .code = ENOENT};
	cleanup_error struct error *err = NULL;
	struct scene sc;

	scene_open(&sc, 2 * MIB, &ft);
	cr_expect(eq(int, scene_read(&sc, 0, 10, &err), -EIO));
	cr_expect(eq(int, err->code, EIO));
	cr_expect(eq(int, err->kind, ERROR_DOWNLOAD));
	scene_close(&sc);
}

Test(fetch_faults, a_reader_can_be_cancelled_at_once)
{
	struct fault ft = {
		.action = FAULT_DELAY, .nth = 1, .every = true, .arg = 20000};
	struct scene sc;
	struct told told;

	scene_open(&sc, 2 * MIB, &ft);
	told_init(&told);
	struct fetch_range r = range_of(sc.src, 0, 10);
	uint64_t ticket = fetch_ask(sc.t.f, &r, told_done, &told);

	cr_assert(ne(u64, ticket, 0));
	cr_expect(eq(int, told_wait(&told, 50), -EBUSY));
	fetch_cancel(sc.t.f, ticket);
	cr_expect(eq(int, told_wait(&told, 100), -ECANCELED));
	fetch_cancel(sc.t.f, ticket);
	scene_close(&sc);
	cr_expect(eq(int, told.calls, 1));
	told_release(&told);
}

/* Who comes after the cancelled one gets its bytes from a new request. */
Test(fetch_faults, cancelling_one_reader_does_not_harm_the_next)
{
	struct fault ft = {.action = FAULT_DELAY, .nth = 1, .arg = 20000};
	struct scene sc;
	struct told a, b;

	scene_open(&sc, 2 * MIB, &ft);
	told_init(&a);
	told_init(&b);
	struct fetch_range r = range_of(sc.src, 0, 10);
	fetch_cancel(sc.t.f, fetch_ask(sc.t.f, &r, told_done, &a));
	fetch_ask(sc.t.f, &r, told_done, &b);
	cr_expect(eq(int, told_wait(&a, 500), -ECANCELED));
	/* Either it asked anew, or it joined the request in flight. */
	int rb = told_wait(&b, 500);
	cr_expect(rb == 0 || rb == -EBUSY);
	scene_close(&sc);
	cr_expect(eq(int, a.calls, 1));
	cr_expect(eq(int, b.calls, 1));
	told_release(&a);
	told_release(&b);
}

Test(fetch_faults, a_reader_waits_no_longer_than_its_deadline)
{
	struct fault ft = {
		.action = FAULT_DELAY, .nth = 1, .every = true, .arg = 20000};
	int64_t start = time_mono_ns();
	struct scene sc;

	scene_open(&sc, 2 * MIB, &ft);
	fetch_source_close(sc.src);
	fetching_restart(&sc.t, 200);
	sc.src = open_source(&sc.t, &sc.s);
	cr_expect(eq(int, scene_read(&sc, 0, 10, NULL), -ETIMEDOUT));
	scene_close(&sc);
	cr_expect(lt(i64, time_mono_ns() - start, 2 * NS_PER_S));
}

Test(fetch_faults, operations_bound_reads_and_whole_sources)
{
	struct fault ft = {
		.action = FAULT_DELAY, .nth = 1, .every = true, .arg = 20000};
	struct op op = OP_INIT;
	atomic_bool cancelled = true;
	unsigned char buf[10];
	struct scene sc;

	scene_open(&sc, 2 * MIB, &ft);
	struct fetch_range r = range_of(sc.src, 0, 10);
	op.deadline_ns = time_deadline_ms(100);
	cr_expect(eq(i64, fetch_read(sc.t.f, &r, buf, &op, NULL), -ETIMEDOUT));
	op.deadline_ns = time_deadline_ms(100);
	cr_expect(eq(int, scene_whole(&sc, &op, NULL), -ETIMEDOUT));
	op.deadline_ns = TIME_NEVER;
	op.cancelled = &cancelled;
	cr_expect(eq(i64, fetch_read(sc.t.f, &r, buf, &op, NULL), -ECANCELED));
	cr_expect(eq(int, scene_whole(&sc, &op, NULL), -ECANCELED));
	scene_close(&sc);
}

Test(fetch_faults, ending_tells_every_waiter)
{
	struct fault ft = {
		.action = FAULT_DELAY, .nth = 1, .every = true, .arg = 60000};
	struct told told[20];
	struct scene sc;

	scene_open(&sc, 40 * MIB, &ft);
	int64_t start = time_mono_ns();
	for (unsigned i = 0; i < 20; i++) {
		struct fetch_range r = range_of(sc.src, 2 * i * MIB, 10);

		told_init(&told[i]);
		fetch_ask(sc.t.f, &r, told_done, &told[i]);
	}
	time_sleep_ms(50);
	scene_close(&sc);
	cr_expect(lt(i64, time_mono_ns() - start, 30 * NS_PER_S));
	for (unsigned i = 0; i < 20; i++) {
		cr_expect(eq(int, told[i].calls, 1));
		cr_expect(eq(int, told[i].result, -ECANCELED));
		told_release(&told[i]);
	}
}

Test(fetch_faults, a_forged_list_for_a_known_digest_harms_only_itself)
{
	struct scene sc;
	cleanup_error struct error *err = NULL;

	scene_open(&sc, 4 * MIB, NULL);
	struct source forged = sc.s;
	forged.chunks = xmemdup(sc.s.chunks, 4 * sizeof(struct digest));
	forged.chunks[1].b[0] ^= 1;
	forged.spec.chunks = forged.chunks;
	struct fetch_source *bad = open_source(&sc.t, &forged);

	cr_expect(ne(ptr, bad, sc.src));
	cr_expect(eq(int, read_and_compare(&sc.t, bad, &forged, MIB, 9, &err),
		     -EBADMSG));
	cr_expect(eq(int, fetch_whole(sc.t.f, &bad, 1, NULL, NULL), -EBADMSG));
	cr_expect(eq(int, scene_whole(&sc, NULL, NULL), 0));
	cr_expect(eq(int, scene_read(&sc, 0, 4 * MIB, NULL), 0));
	time_sleep_ms(1050);
	cr_expect(eq(int, read_and_compare(&sc.t, bad, &forged, MIB, 9, NULL),
		     -EBADMSG),
		  "also when the honest bytes are sealed");
	fetch_source_close(bad);
	free(forged.chunks);
	scene_close(&sc);
}

/* Every chunk is as the list says, but the whole is not. */
Test(fetch_faults, a_whole_that_contradicts_its_chunks_is_refused)
{
	struct fetching t;
	struct source s;
	struct digest real;

	fetching_open(&t, NULL);
	source_init(&s, 2 * MIB, 9);
	real = s.spec.digest;
	s.spec.digest.b[31] ^= 1;
	upload(&t, s.data, s.spec.size);

	struct fetch_part part = {.digest = real, .size = s.spec.size};
	struct fetch_source_spec spec = {
		.remote = &t.remote,
		.kind = TREE_SOURCE_RUN,
		.content = s.spec,
		.parts = &part,
		.n_parts = 1,
	};
	struct fetch_source *src = NULL;
	cr_assert(eq(int, fetch_source_open(t.f, &spec, &src, NULL), 0));
	cr_expect(eq(int, fetch_whole(t.f, &src, 1, NULL, NULL), -EBADMSG));
	cr_expect(eq(int, read_and_compare(&t, src, &s, 0, 5, NULL), -EBADMSG));
	cr_expect(eq(uint, count_files(&t.fx, "blobs"), 0));
	fetch_source_close(src);
	fetching_close(&t);
	source_release(&s);
}

Test(fetch_faults, offline_serves_what_is_there)
{
	struct scene sc;
	cleanup_error struct error *err = NULL;

	scene_open(&sc, 4 * MIB, NULL);
	cr_assert(eq(int, scene_read(&sc, 0, 10, NULL), 0));
	fetch_source_close(sc.src);
	sc.t.remote.registry = NULL;
	sc.src = open_source(&sc.t, &sc.s);
	cr_expect(eq(int, scene_read(&sc, 100, 10, NULL), 0));
	cr_expect(eq(int, scene_read(&sc, 3 * MIB, 10, &err), -ENOTCONN));
	cr_expect(eq(int, err->kind, ERROR_DOWNLOAD));
	cr_expect(eq(int, scene_whole(&sc, NULL, NULL), -ENOTCONN));
	scene_close(&sc);
}

/* Folders that are gone refuse every new file, for root too. */
static void make_unwritable(struct fetching *t)
{
	static const char *const gone[] = {"partial/sha256", "tmp"};

	for (size_t i = 0; i < ARRAY_SIZE(gone); i++) {
		cleanup_free char *p =
			xasprintf("%s/%s", cache_path(t->fx.c), gone[i]);

		cr_assert(eq(int, rmdir(p), 0), "%s", p);
	}
}

Test(fetch_faults, a_cache_that_cannot_be_written_serves_from_memory)
{
	struct scene sc;
	struct source small;

	scene_open(&sc, 8 * MIB, NULL);
	source_init(&small, 1000, 3);
	upload(&sc.t, small.data, 1000);
	make_unwritable(&sc.t);
	cr_expect(eq(int, scene_read(&sc, MIB + 5, 3 * MIB, NULL), 0));
	cr_expect(eq(int, scene_read(&sc, MIB + 5, 3 * MIB, NULL), 0));
	cr_expect(eq(uint, requests(&sc.t), 1));

	struct fetch_source *src = open_source(&sc.t, &small);
	cr_expect(eq(int, read_and_compare(&sc.t, src, &small, 0, 1000, NULL),
		     0));
	fetch_source_close(src);
	cr_expect(lt(int, scene_whole(&sc, NULL, NULL), 0),
		  "what cannot be sealed is not whole");
	cr_expect(eq(int, scene_read(&sc, 6 * MIB, 10, NULL), 0),
		  "and readers are still served");
	scene_close(&sc);
	source_release(&small);
}

static struct fetch_source *open_external(struct scene *sc,
					  const struct object_stores *stores,
					  const char *uri)
{
	struct remote remote = {.stores = stores};
	struct fetch_source_spec spec = {
		.remote = &remote,
		.kind = TREE_SOURCE_EXTERNAL,
		.content = sc->s.spec,
		.uri = uri,
		.uri_len = (uint32_t)strlen(uri),
	};
	struct fetch_source *src = NULL;

	cr_assert(eq(int, fetch_source_open(sc->t.f, &spec, &src, NULL), 0));
	return src;
}

static void put_object(struct object_store *store, const char *uri,
		       const void *p, size_t n)
{
	cleanup_pointer_uri struct pointer_uri u = {0};
	struct digest d = digest_of_buf(p, n);
	struct feed_mem feed;

	cr_assert(eq(int, pointer_uri_parse(uri, strlen(uri), &u, NULL), 0));
	feed_mem_init(&feed, p, n);
	cr_assert(eq(int,
		     store->ops->put(store, &u, &feed.feed, &d, NULL, NULL),
		     0));
}

Test(fetch_faults, externals_are_read_and_drifted_ones_are_stale)
{
	struct object_store *fake = object_store_fake_new();
	struct object_stores stores = {.by_scheme = {[URI_S3] = fake}};
	struct scene sc;
	cleanup_error struct error *err = NULL;

	scene_open(&sc, 3 * MIB, NULL);
	put_object(fake, "s3://bucket/right", sc.s.data, 3 * MIB);
	put_object(fake, "s3://bucket/short", sc.s.data, 2 * MIB);

	struct fetch_source *src =
		open_external(&sc, &stores, "s3://bucket/right");
	cr_expect(
		eq(int, read_and_compare(&sc.t, src, &sc.s, MIB, 9, NULL), 0));
	fetch_source_close(src);
	src = open_external(&sc, &stores, "s3://bucket/short");
	cr_expect(eq(int, read_and_compare(&sc.t, src, &sc.s, 0, 9, &err),
		     -ESTALE));
	cr_expect(eq(int, err->kind, ERROR_VALIDATION));
	fetch_source_close(src);
	scene_close(&sc);
	object_stores_release(&stores);
}

struct holder {
	int fd;
	int64_t ms;
};

static void *let_go_later(void *arg)
{
	struct holder *h = arg;

	time_sleep_ms(h->ms);
	close(h->fd);
	return NULL;
}

Test(fetch_faults, a_source_that_is_being_sealed_elsewhere_is_waited_for)
{
	struct holder h = {.ms = 700};
	cleanup_error struct error *err = NULL;
	struct scene sc;
	pthread_t th;

	scene_open(&sc, 6 * MIB, NULL);
	h.fd = hold_gate(&sc.t);
	cr_assert(eq(int, thread_start(&th, "holder", let_go_later, &h), 0));
	cr_expect(eq(int, scene_whole(&sc, NULL, &err), 0), "%s",
		  err ? err->message : "");
	cr_expect(eq(u64, bytes_asked(&sc.t), 6 * MIB), "each chunk once");
	pthread_join(th, NULL);
	scene_close(&sc);
}

/* Its holder was stopped, or lies: it costs time, no more. */
Test(fetch_faults, a_gate_that_is_never_opened_is_passed_by)
{
	cleanup_error struct error *err = NULL;
	struct scene sc;
	int fd;

	scene_open(&sc, 6 * MIB, NULL);
	sc.t.fx.c->gate_patience_ms = 300;
	fd = hold_gate(&sc.t);
	cr_expect(eq(int, scene_whole(&sc, NULL, &err), 0), "%s",
		  err ? err->message : "");
	cr_expect(eq(u64, bytes_asked(&sc.t), 6 * MIB));
	cr_expect(eq(int, scene_read(&sc, 0, 6 * MIB, NULL), 0));
	close(fd);
	scene_close(&sc);
}
