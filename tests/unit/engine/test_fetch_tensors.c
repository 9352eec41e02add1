/* What a miss inside a tensor makes the fetcher ask for. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "engine/fetch_internal.h"
#include "fetching.h"

#define MIB ((uint64_t)CHUNK_SIZE)

struct scene {
	struct fetching t;
	struct source s;
	struct fetch_source *src;
};

/* A file whose header has @doc, and whose data begins at 2 MiB. */
static void scene_open(struct scene *sc, uint64_t chunks, const char *doc,
		       const struct fault *fault)
{
	uint64_t len = htole64(2 * MIB - 8);

	fetching_open(&sc->t, fault);
	source_init(&sc->s, chunks * MIB, 3);
	memset(sc->s.data, ' ', 2 * MIB);
	memcpy(sc->s.data, &len, sizeof(len));
	memcpy(sc->s.data + 8, doc, strlen(doc));
	source_rehash(&sc->s);
	upload(&sc->t, sc->s.data, sc->s.spec.size);
	sc->src = open_source(&sc->t, &sc->s);
}

static void scene_close(struct scene *sc)
{
	fetch_source_close(sc->src);
	fetching_close(&sc->t);
	source_release(&sc->s);
}

static uint32_t have(struct scene *sc)
{
	return content_have(fetch_source_content(sc->src));
}

/* Until @n chunks are there, and a moment more. */
static uint32_t have_at_least(struct scene *sc, uint32_t n)
{
	for (unsigned i = 0; i < 1000 && have(sc) < n; i++)
		time_sleep_ms(10);
	time_sleep_ms(50);
	requests(&sc->t); /* none is in flight */
	return have(sc);
}

static void hint(struct scene *sc)
{
	/* Said again it means nothing, unless the last one was in vain. */
	for (unsigned i = 0; i < 1000 && have(sc) < 2; i++) {
		fetch_weights(sc->t.f, sc->src, WEIGHTS_SAFETENSORS);
		time_sleep_ms(10);
	}
	cr_assert(eq(u32, have_at_least(sc, 2), 2), "the header came");
}

static void miss(struct scene *sc, uint64_t chunk)
{
	cr_assert(eq(int,
		     read_and_compare(&sc->t, sc->src, &sc->s,
				      chunk * MIB + 100, 4096, NULL),
		     0));
}

static uint64_t tensors(struct scene *sc)
{
	struct fetch_stats st;

	fetcher_stats(sc->t.f, &st);
	return st.tensors;
}

/* 0: chunks 2 to 21; 1: 22 to 31; 2: of 2 KiB; 3: 32 (and a bit) to the end. */
static const char four[] =
	"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,20971520]},"
	"\"b\":{\"dtype\":\"U8\",\"shape\":[1],"
	"\"data_offsets\":[20971520,31457280]},"
	"\"c\":{\"dtype\":\"U8\",\"shape\":[1],"
	"\"data_offsets\":[31457280,31459328]},"
	"\"d\":{\"dtype\":\"U8\",\"shape\":[1],"
	"\"data_offsets\":[31459328,132120576]}}";
#define FOUR_CHUNKS 128

Test(fetch_tensors, without_a_hint_a_miss_is_one_chunk)
{
	struct scene sc;

	scene_open(&sc, FOUR_CHUNKS, four, NULL);
	miss(&sc, 0);
	miss(&sc, 10);
	time_sleep_ms(50);
	cr_expect(eq(uint, requests(&sc.t), 2));
	cr_expect(eq(u64, bytes_asked(&sc.t), 2 * MIB));
	scene_close(&sc);
}

Test(fetch_tensors, with_it_a_miss_brings_the_tensor)
{
	struct scene sc;

	scene_open(&sc, FOUR_CHUNKS, four, NULL);
	hint(&sc);
	unsigned before = requests(&sc.t);
	miss(&sc, 10);
	cr_expect(eq(u32, have_at_least(&sc, 22), 22), "this one, no other");
	cr_expect(eq(u64, bytes_asked(&sc.t), 22 * MIB), "each chunk once");
	/* 10; 11 to 18, 19 to 21; 2 to 9. */
	cr_expect(eq(uint, requests(&sc.t) - before, 4));
	cr_expect(eq(u64, tensors(&sc), 1));
	miss(&sc, 20);
	cr_expect(eq(uint, requests(&sc.t) - before, 4));
	miss(&sc, 25);
	cr_expect(eq(u32, have_at_least(&sc, 32), 32), "the next one");
	scene_close(&sc);
}

Test(fetch_tensors, a_large_one_is_brought_from_its_beginning_alone)
{
	struct scene sc;

	scene_open(&sc, FOUR_CHUNKS, four, NULL);
	hint(&sc);
	miss(&sc, 100);
	cr_expect(eq(u32, have_at_least(&sc, 3), 3), "a row of a table");
	miss(&sc, 32);
	cr_expect(eq(u32, have_at_least(&sc, 67), 67), "64 MiB of it");
	miss(&sc, 110);
	cr_expect(eq(u32, have_at_least(&sc, 68), 68));
	cr_expect(eq(u64, bytes_asked(&sc.t), 68 * MIB));
	scene_close(&sc);
}

Test(fetch_tensors, what_is_read_before_them_counts_as_before)
{
	struct fetch_stats st;
	struct scene sc;

	scene_open(&sc, FOUR_CHUNKS, four, NULL);
	fetch_weights(sc.t.f, sc.src, WEIGHTS_SAFETENSORS);
	for (uint64_t i = 0; i < FOUR_CHUNKS; i++)
		miss(&sc, i);
	requests(&sc.t); /* none is in flight */
	fetcher_stats(sc.t.f, &st);
	cr_expect(eq(u64, st.bytes_network, FOUR_CHUNKS * MIB),
		  "a reader of it all gets each chunk once");
	scene_close(&sc);
}

Test(fetch_tensors, a_header_that_is_none_changes_nothing)
{
	struct scene sc;

	scene_open(&sc, FOUR_CHUNKS, "{\"a\":{\"data_offsets\":[0,1]}", NULL);
	fetch_weights(sc.t.f, sc.src, WEIGHTS_SAFETENSORS);
	cr_assert(eq(u32, have_at_least(&sc, 2), 2));
	miss(&sc, 10);
	fetch_weights(sc.t.f, sc.src, WEIGHTS_SAFETENSORS);
	time_sleep_ms(50);
	cr_expect(eq(u64, bytes_asked(&sc.t), 3 * MIB), "nor is it read again");
	scene_close(&sc);
}

Test(fetch_tensors, tables_are_kept_while_there_is_room)
{
	struct scene sc;

	scene_open(&sc, FOUR_CHUNKS, four, NULL);
	atomic_store(&sc.t.f->tensor_bytes, FETCH_TABLES_MAX - 64);
	hint(&sc);
	miss(&sc, 10);
	cr_expect(eq(u32, have_at_least(&sc, 3), 3), "it has four tensors");
	cr_expect(eq(u64, tensors(&sc), 0));
	cr_expect(eq(sz, sc.t.f->tensor_bytes, FETCH_TABLES_MAX - 64));
	scene_close(&sc);

	scene_open(&sc, FOUR_CHUNKS, four, NULL);
	hint(&sc);
	miss(&sc, 10);
	cr_expect(eq(u32, have_at_least(&sc, 22), 22));
	cr_expect(gt(sz, sc.t.f->tensor_bytes, 4 * sizeof(struct tensor)));
	cr_expect(lt(sz, sc.t.f->tensor_bytes, 128));
	fetch_source_close(sc.src); /* it goes when its bytes are durable */
	for (unsigned i = 0; i < 1000 && sc.t.f->tensor_bytes; i++)
		time_sleep_ms(10);
	cr_expect(eq(sz, sc.t.f->tensor_bytes, 0));
	sc.src = open_source(&sc.t, &sc.s);
	scene_close(&sc);
}

Test(fetch_tensors, small_files_packs_and_other_suffixes_have_no_header)
{
	struct scene sc;

	scene_open(&sc, 15, "{}", NULL);
	fetch_weights(sc.t.f, sc.src, WEIGHTS_SAFETENSORS);
	fetch_source_close(sc.src);
	source_release(&sc.s);
	source_init(&sc.s, 20 * MIB, 5);
	upload(&sc.t, sc.s.data, sc.s.spec.size);
	sc.src = open_kind(&sc.t, &sc.s, TREE_SOURCE_PACK);
	fetch_weights(sc.t.f, sc.src, WEIGHTS_SAFETENSORS);
	fetch_source_close(sc.src);
	sc.src = open_source(&sc.t, &sc.s);
	fetch_weights(sc.t.f, sc.src, WEIGHTS_NONE);
	time_sleep_ms(50);
	cr_expect(eq(uint, requests(&sc.t), 0));
	scene_close(&sc);
}

Test(fetch_tensors, a_header_that_does_not_come_is_asked_for_again)
{
	struct fault ft = {.action = FAULT_FAIL, .nth = 1, .code = EIO};
	struct scene sc;

	scene_open(&sc, FOUR_CHUNKS, four, &ft);
	fetch_weights(sc.t.f, sc.src, WEIGHTS_SAFETENSORS);
	hint(&sc); /* when the failure is forgotten */
	miss(&sc, 25);
	cr_expect(eq(u32, have_at_least(&sc, 12), 12));
	scene_close(&sc);
}

/* While tensors come, who reads on and who misses elsewhere is served. */
Test(fetch_tensors, readers_do_not_wait_for_them)
{
	struct fault slow = {
		.action = FAULT_DELAY, .nth = 1, .every = true, .arg = 600};
	struct source other;
	struct scene sc;

	scene_open(&sc, FOUR_CHUNKS, four, &slow);
	source_init(&other, 4 * MIB, 9);
	upload(&sc.t, other.data, other.spec.size);
	struct fetch_source *src = open_source(&sc.t, &other);

	hint(&sc);
	miss(&sc, 32); /* 64 MiB in 8 requests of 600 ms, for 2 threads */
	cr_assert(eq(int, read_and_compare(&sc.t, src, &other, 5, 1000, NULL),
		     0));
	cr_expect(lt(u32, have(&sc), 67), "they are still to come");
	fetch_source_close(src);
	source_release(&other);
	scene_close(&sc);
}

Test(fetch_tensors, a_fetcher_may_end_before_its_headers)
{
	struct fault slow = {
		.action = FAULT_DELAY, .nth = 1, .every = true, .arg = 60000};
	struct scene sc;

	scene_open(&sc, FOUR_CHUNKS, four, &slow);
	fetch_weights(sc.t.f, sc.src, WEIGHTS_SAFETENSORS);
	time_sleep_ms(50);
	scene_close(&sc);
}
