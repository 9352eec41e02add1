#include "cache/internal.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"

static struct fixture f;

static void setup(void)
{
	fixture_open(&f);
}

static void teardown(void)
{
	fixture_close(&f);
}

TestSuite(verify, .init = setup, .fini = teardown);

#define BIG (2u * CHUNK_SIZE + 100)

static struct cache_report report;
static char what[256];

static void note(void *ctx, const struct digest *d, const char *kind)
{
	snprintf(what, sizeof(what), "%s %.8s", kind, digest_to_hex(d).str);
}

static int verify(void)
{
	what[0] = '\0';
	return cache_verify(f.c, &report, note, NULL, NULL, NULL);
}

Test(verify, finds_nothing_in_a_sound_cache)
{
	cleanup_source struct source a, b, c;
	struct cache_usage use;
	struct content *ct;

	source_init(&a, BIG, 1);
	source_init(&b, 1000, 2);
	source_init(&c, BIG, 3);
	cr_assert(eq(int, seal_all(&f, &a), 0));
	cr_assert(eq(int, seal_all(&f, &b), 0));
	ct = content_of(&f, &c);
	cr_assert(eq(int, put_chunk(ct, &c, 0), 0));
	cr_assert(eq(int, put_chunk(ct, &c, 2), 0));
	cr_assert(eq(int, verify(), 0));
	cr_expect(eq(u64, report.blobs, 2));
	cr_expect(eq(u64, report.bytes, BIG + 1000));
	cr_expect(eq(u64, report.partials, 1));
	cr_expect(eq(u64, report.chunks, 2));
	cr_expect(eq(u64, report.damaged, 0));
	cr_expect(eq(u64, report.removed_partials, 0));
	cr_assert(eq(int, cache_usage(f.c, &use, NULL), 0));
	cr_expect(eq(u64, use.blobs, 2));
	cr_expect(eq(u64, use.partials, 1));
	cr_expect(ge(u64, use.blob_bytes, BIG));
	content_close(ct);
}

Test(verify, finds_decay_under_an_unchanged_stat)
{
	cleanup_source struct source a;
	cleanup_free char *path = NULL;
	struct stat st;
	int fd;

	source_init(&a, BIG, 1);
	cr_assert(eq(int, seal_all(&f, &a), 0));
	path = blob_path(&f, &a.spec.digest);
	flip_byte(path, 1500000);
	cr_assert(eq(int, stat(path, &st), 0));
	statindex_put(f.c, &a.spec.digest, &st, time_wall_ns() + NS_PER_S);
	fd = cache_blob_open(f.c, &a.spec.digest, BIG, NULL);
	cr_expect(ge(int, fd, 0), "the stat says nothing");
	closep(&fd);
	cr_assert(eq(int, verify(), 0));
	cr_expect(eq(u64, report.damaged, 1));
	cr_expect(ne(ptr, strstr(what, "blob"), NULL));
	cr_expect(not(cache_blob_exists(f.c, &a.spec.digest, BIG)));
	cr_expect(eq(u32, count_files(&f, "quarantine"), 1));
	cr_assert(eq(int, verify(), 0));
	cr_expect(eq(u64, report.damaged, 0));
}

Test(verify, finds_a_damaged_chunk_of_a_partial)
{
	cleanup_source struct source a;
	cleanup_free char *part = NULL;
	struct content *ct;

	source_init(&a, BIG, 1);
	ct = content_of(&f, &a);
	cr_assert(eq(int, put_chunk(ct, &a, 0), 0));
	cr_assert(eq(int, put_chunk(ct, &a, 1), 0));
	part = partial_path(&f, ".part");
	flip_byte(part, CHUNK_SIZE + 5);
	cr_assert(eq(int, verify(), 0));
	cr_expect(eq(u64, report.damaged, 1));
	cr_expect(eq(u64, report.removed_partials, 0));
	cr_expect(content_has(ct, 0));
	cr_expect(not(content_has(ct, 1)));
	content_close(ct);
}

Test(verify, removes_a_partial_whose_map_is_damaged)
{
	cleanup_source struct source a;
	struct content *ct;
	/* The header, the chunk list; not the state, not the bits. */
	static const long offs[] = {0, 8, 20, 40, 80, 100, 140, 159, 192, 287};

	source_init(&a, BIG, 1);
	for (size_t i = 0; i < ARRAY_SIZE(offs); i++) {
		cleanup_free char *map = NULL;

		ct = content_of(&f, &a);
		cr_assert(eq(int, put_chunk(ct, &a, 0), 0));
		content_close(ct);
		map = partial_path(&f, ".map");
		flip_byte(map, offs[i]);
		cr_assert(eq(int, verify(), 0));
		cr_expect(eq(u64, report.removed_partials, 1), "offset %ld",
			  offs[i]);
		cr_expect(eq(u32, count_files(&f, "partial"), 0));
	}
}

Test(verify, stops_when_asked)
{
	cleanup_source struct source a;
	atomic_bool stop = true;
	struct op op = OP_INIT;

	source_init(&a, BIG, 1);
	cr_assert(eq(int, seal_all(&f, &a), 0));
	op.cancelled = &stop;
	cr_expect(eq(int, cache_verify(f.c, &report, NULL, NULL, &op, NULL),
		     -ECANCELED));
	stop = false;
	op.deadline_ns = 0;
	cr_expect(eq(int, cache_verify(f.c, &report, NULL, NULL, &op, NULL),
		     -ETIMEDOUT));
}
