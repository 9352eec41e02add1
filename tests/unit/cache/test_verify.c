#include "cache/internal.h"
#include "cache/verify_internal.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/time.h"
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
static struct cache_finding last; /* the last that was told */

static void keep(void *ctx, const struct cache_finding *found)
{
	last = *found;
}

static int verify_with(struct cache_verify_options o)
{
	memset(&last, 0, sizeof(last));
	o.found = keep;
	return cache_verify(f.c, &o, &report, NULL);
}

static int verify(void)
{
	return verify_with((struct cache_verify_options){.restart = true});
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
	cr_expect(eq(int, (int)last.kind, CACHE_DAMAGED_BLOB));
	cr_expect(digest_equal(&last.digest, &a.spec.digest));
	cr_expect(digest_equal(&last.expected, &a.spec.digest));
	cr_expect(last.has_found);
	a.data[1500000] ^= 0xff;
	source_rehash(&a);
	cr_expect(digest_equal(&last.found, &a.spec.digest));
	cr_expect(eq(u64, last.size, BIG));
	cr_expect(not(cache_blob_exists(f.c, &last.digest, BIG)));
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
	cr_expect(eq(int, verify_with((struct cache_verify_options){.op = &op}),
		     -ECANCELED));
	stop = false;
	op.deadline_ns = 0;
	cr_expect(eq(int, verify_with((struct cache_verify_options){.op = &op}),
		     -ETIMEDOUT));
}

/*
 * The note of a scan.
 */

static char *note_path(void)
{
	return xasprintf("%s/verify", cache_path(f.c));
}

struct stop_after {
	struct cache_verify_options o;
	atomic_bool stop;
	unsigned left;
};

static void stop_at(void *ctx, const struct cache_finding *found)
{
	struct stop_after *s = ctx;

	last = *found;
	if (!--s->left)
		atomic_store(&s->stop, true);
}

/* A scan by one thread that ends when it has found @n. */
static int verify_until(unsigned n)
{
	struct stop_after s = {.left = n};
	struct op op = OP_INIT;

	op.cancelled = &s.stop;
	s.o = (struct cache_verify_options){
		.threads = 1, .found = stop_at, .ctx = &s, .op = &op};
	return cache_verify(f.c, &s.o, &report, NULL);
}

static int go_on(bool for_repair)
{
	return verify_with(
		(struct cache_verify_options){.for_repair = for_repair});
}

#define MANY 40

/* Sealed blobs, of which those with an odd number are damaged then. */
static void many_blobs(void)
{
	for (unsigned i = 0; i < MANY; i++) {
		cleanup_source struct source a;
		cleanup_free char *path = NULL;

		source_init(&a, 5000, i);
		cr_assert(eq(int, seal_all(&f, &a), 0));
		cr_assert(eq(int, cache_sync(f.c, NULL), 0));
		path = blob_path(&f, &a.spec.digest);
		if (i & 1)
			flip_byte(path, 4999);
	}
}

Test(verify, goes_on_where_it_was_interrupted)
{
	uint64_t seen;

	many_blobs();
	cr_assert(eq(int, verify_until(7), -ECANCELED));
	seen = report.blobs;
	cr_expect(lt(u64, seen, MANY));
	cr_expect(eq(u64, report.damaged, 7));
	cr_assert(eq(int, go_on(false), 0));
	cr_expect(report.resumed);
	cr_expect(eq(u64, report.damaged, MANY / 2), "each once");
	/* What a part had seen when it was cut off is not counted. */
	cr_expect(le(u64, report.blobs, MANY));
	cr_expect(ge(u64, report.blobs, MANY - 7));
	cr_expect(eq(u32, count_files(&f, "quarantine"), MANY / 2));
	cr_assert(eq(int, go_on(false), 0));
	cr_expect(not(report.resumed), "that one had ended");
	cr_expect(eq(u64, report.damaged, 0));
	cr_expect(eq(u64, report.blobs, MANY / 2));
}

Test(verify, begins_anew_when_told_to)
{
	many_blobs();
	cr_assert(eq(int, verify_until(3), -ECANCELED));
	cr_assert(eq(int, verify(), 0));
	cr_expect(not(report.resumed));
	cr_expect(eq(u64, report.blobs, MANY - 3));
	cr_expect(eq(u64, report.damaged, MANY / 2 - 3));
}

Test(verify, remembers_what_nobody_repaired)
{
	cleanup_source struct source a;

	many_blobs();
	cr_assert(eq(int, verify(), 0));
	cr_expect(eq(u64, report.damaged, MANY / 2));
	cr_assert(eq(int, verify(), 0));
	cr_expect(eq(u64, report.damaged, 0));
	source_init(&a, 5000, 1);
	cr_assert(eq(int, seal_all(&f, &a), 0));
	cr_assert(eq(int, cache_sync(f.c, NULL), 0));
	cr_assert(eq(int, go_on(true), 0));
	cr_expect(eq(u64, report.damaged, MANY / 2 - 1), "one is back");
	cr_expect(last.earlier);
	cache_verify_repaired(f.c, &last);
	cr_assert(eq(int, go_on(true), 0));
	cr_expect(eq(u64, report.damaged, MANY / 2 - 2));
}

Test(verify, looks_for_new_damage_before_it_goes_on_with_a_repair)
{
	cleanup_source struct source a;
	cleanup_free char *path = NULL;

	many_blobs();
	cr_assert(eq(int, go_on(true), 0));
	cr_expect(eq(u64, report.damaged, MANY / 2));
	/* And the one who would repair was killed. */
	source_init(&a, 5000, 2);
	path = blob_path(&f, &a.spec.digest);
	flip_byte(path, 7);
	cr_assert(eq(int, go_on(true), 0));
	cr_expect(not(report.resumed));
	cr_expect(eq(u64, report.damaged, MANY / 2 + 1));
	cr_expect(eq(u64, report.blobs, MANY / 2));
}

Test(verify, remembers_the_other_chunk_when_one_is_repaired)
{
	cleanup_source struct source a;
	cleanup_free char *part = NULL;
	struct content *ct;

	source_init(&a, BIG, 1);
	ct = content_of(&f, &a);
	cr_assert(eq(int, put_chunk(ct, &a, 0), 0));
	cr_assert(eq(int, put_chunk(ct, &a, 1), 0));
	part = partial_path(&f, ".part");
	flip_byte(part, 5);
	flip_byte(part, CHUNK_SIZE + 5);
	cr_assert(eq(int, verify(), 0));
	cr_expect(eq(u64, report.damaged, 2));
	cr_expect(eq(u32, last.chunk, 1));
	cache_verify_repaired(f.c, &last);
	cr_assert(eq(int, go_on(true), 0));
	cr_expect(eq(u64, report.damaged, 1));
	cr_expect(eq(u32, last.chunk, 0));
	content_close(ct);
}

Test(verify, believes_no_note_that_is_damaged)
{
	cleanup_free char *note = note_path();

	many_blobs();
	cr_assert(eq(int, verify_until(5), -ECANCELED));
	for (long at = 0; at < 32; at++) {
		cleanup_free char *copy = NULL;
		size_t n;

		cr_assert(eq(int,
			     io_read_file(AT_FDCWD, note, 1 << 20, &copy, &n),
			     0));
		flip_byte(note, at);
		cr_assert(eq(int, go_on(false), 0));
		cr_expect(not(report.resumed), "byte %ld", at);
		cr_assert(
			eq(int,
			   io_write_file_atomic(AT_FDCWD, note, copy, n, 0600),
			   0));
	}
}

Test(verify, believes_a_torn_note_up_to_there)
{
	cleanup_free char *note = note_path();

	many_blobs();
	cr_assert(eq(int, verify_until(5), -ECANCELED));
	cr_assert(eq(int, truncate(note, file_size(note) - 1), 0));
	cr_assert(eq(int, go_on(false), 0));
	cr_expect(report.resumed);
	cr_assert(eq(int, go_on(false), 0));
	cr_expect(not(report.resumed), "what was appended counts");
}

Test(verify, a_scan_beside_another_has_no_note)
{
	cleanup_free char *path = xasprintf("%s/locks/verify", cache_path(f.c));
	cleanup_free char *note = note_path();
	cleanup_fd int fd = -1;

	many_blobs();
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert(eq(int, ofd_try_lock(fd, LOCK_EXCLUSIVE, 0, 1), 0));
	cr_assert(eq(int, verify(), 0));
	cr_expect(eq(u64, report.damaged, MANY / 2));
	cr_expect(eq(int, access(note, F_OK), -1));
}

Test(verify, reads_no_faster_than_it_may)
{
	cleanup_source struct source a;
	int64_t start, ms;

	source_init(&a, BIG, 1);
	cr_assert(eq(int, seal_all(&f, &a), 0));
	start = time_mono_ns();
	cr_assert(eq(int,
		     verify_with((struct cache_verify_options){
			     .restart = true, .limit_rate = 4 << 20}),
		     0));
	ms = (time_mono_ns() - start) / NS_PER_MS;
	cr_expect(ge(i64, ms, 200), "2 MiB at 4 MiB/s: %lld ms", (long long)ms);
}

/*
 * Damage of each kind, at each place.
 */

static const uint64_t sizes[] = {
	1,          5000,           CHUNK_SIZE - 1,
	CHUNK_SIZE, CHUNK_SIZE + 1, 3u * CHUNK_SIZE + 77};

enum harm { FLIP_FIRST, FLIP_MIDDLE, FLIP_LAST, CUT, EMPTY, LONGER, ZEROS };

static void cut(int fd, uint64_t size, enum harm h)
{
	uint64_t first = h == CUT ? size - 1 : h == LONGER ? size : 0;

	cr_assert(eq(int, ftruncate(fd, (off_t)first), 0));
	if (h == LONGER || h == ZEROS)
		cr_assert(eq(int, ftruncate(fd, (off_t)(size + (h == LONGER))),
			     0));
}

static void harm(const char *path, uint64_t size, enum harm h)
{
	cleanup_fd int fd = -1;

	cr_assert(eq(int, chmod(path, 0600), 0));
	fd = open(path, O_RDWR | O_CLOEXEC);
	cr_assert(ge(int, fd, 0));
	if (h == FLIP_FIRST)
		flip_byte(path, 0);
	else if (h == FLIP_MIDDLE)
		flip_byte(path, (long)(size / 2));
	else if (h == FLIP_LAST)
		flip_byte(path, (long)size - 1);
	else
		cut(fd, size, h);
}

Test(verify, finds_any_damage_of_a_blob)
{
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		for (enum harm h = FLIP_FIRST; h <= ZEROS; h++) {
			cleanup_source struct source a;
			cleanup_free char *path = NULL;

			source_init(&a, sizes[i], 100 + (unsigned)i);
			cr_assert(eq(int, seal_all(&f, &a), 0));
			cr_assert(eq(int, cache_sync(f.c, NULL), 0));
			path = blob_path(&f, &a.spec.digest);
			harm(path, sizes[i], h);
			cr_assert(eq(int, verify(), 0));
			cr_expect(eq(u64, report.damaged, 1), "%zu %d", i, h);
			cr_expect(digest_equal(&last.digest, &a.spec.digest));
			cr_expect(last.has_found);
			cr_expect(
				not(digest_equal(&last.found, &last.expected)));
			cr_expect(eq(int, access(path, F_OK), -1));
		}
}

Test(verify, finds_bits_that_lie)
{
	cleanup_source struct source a;
	cleanup_free char *map = NULL, *part = NULL;
	cleanup_fd int fd = -1;
	struct content *ct;

	source_init(&a, BIG, 1);
	ct = content_of(&f, &a);
	cr_assert(eq(int, put_chunk(ct, &a, 1), 0));
	map = partial_path(&f, ".map");
	part = partial_path(&f, ".part");
	fd = open(map, O_RDWR | O_CLOEXEC);
	cr_assert(eq(int, chunk_map_set(fd, a.n, 0, CHUNK_DURABLE), 0));
	cr_assert(eq(int, verify(), 0));
	cr_expect(eq(u64, report.damaged, 1));
	cr_expect(eq(int, (int)last.kind, CACHE_DAMAGED_CHUNK));
	cr_expect(eq(u32, last.chunk, 0));
	cr_expect(digest_equal(&last.digest, &a.spec.digest));
	cr_expect(digest_equal(&last.expected, &a.chunks[0]));
	cr_expect(last.has_found);
	cr_expect(eq(int, chunk_map_get(fd, a.n, 0), 0));
	cr_expect(content_has(ct, 1));
	content_close(ct);
}

Test(verify, says_which_hardlinks_have_the_damage_too)
{
	cleanup_source struct source a;
	cleanup_free char *path = NULL, *other = NULL;
	struct stat st;

	source_init(&a, BIG, 1);
	cr_assert(eq(int, seal_all(&f, &a), 0));
	path = blob_path(&f, &a.spec.digest);
	other = xasprintf("%s/elsewhere", f.dir);
	cr_assert(eq(int, link(path, other), 0));
	flip_byte(other, 10);
	cr_assert(eq(int, stat(other, &st), 0));
	cr_assert(eq(int, verify(), 0));
	cr_expect(eq(u64, report.damaged, 1));
	cr_expect(eq(u32, last.links, 1));
	cr_expect(eq(u64, last.ino, st.st_ino));
}

/*
 * What is no file, or cannot be read, is a finding; the scan goes on.
 */

static void is_found(const struct source *a, const char *path)
{
	int fd;

	cr_assert(eq(int, verify(), 0));
	cr_expect(eq(u64, report.damaged, 1));
	cr_expect(eq(int, (int)last.kind, CACHE_DAMAGED_BLOB));
	cr_expect(digest_equal(&last.digest, &a->spec.digest));
	cr_expect(not(last.has_found));
	cr_expect(ne(int, last.error, 0));
	cr_expect(eq(int, access(path, F_OK), -1));
	fd = cache_blob_open(f.c, &a->spec.digest, 5000, NULL);
	cr_expect(eq(int, fd, -ENOENT));
}

Test(verify, finds_what_is_no_file)
{
	static const mode_t types[] = {S_IFSOCK, S_IFIFO, S_IFDIR, S_IFLNK};
	cleanup_source struct source a;
	cleanup_free char *path = NULL;

	source_init(&a, 5000, 1);
	path = blob_path(&f, &a.spec.digest);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		cr_assert(eq(int, seal_all(&f, &a), 0));
		cr_assert(eq(int, unlink(path), 0));
		if (types[i] == S_IFDIR)
			cr_assert(eq(int, mkdir(path, 0700), 0));
		else if (types[i] == S_IFLNK)
			cr_assert(eq(int, symlink("/dev/null", path), 0));
		else
			cr_assert(eq(int, mknod(path, types[i] | 0600, 0), 0));
		is_found(&a, path);
	}
}

Test(verify, a_socket_is_no_blob_to_a_reader)
{
	cleanup_source struct source a;
	cleanup_free char *path = NULL;
	int fd;

	source_init(&a, 5000, 1);
	path = blob_path(&f, &a.spec.digest);
	cr_assert(eq(int, seal_all(&f, &a), 0));
	cr_assert(eq(int, unlink(path), 0));
	cr_assert(eq(int, mknod(path, S_IFSOCK | 0600, 0), 0));
	fd = cache_blob_open(f.c, &a.spec.digest, 5000, NULL);
	cr_expect(eq(int, fd, -ENOENT), "to be fetched");
	cr_assert(eq(int, seal_all(&f, &a), 0));
	fd = cache_blob_open(f.c, &a.spec.digest, 5000, NULL);
	cr_expect(ge(int, fd, 0));
	closep(&fd);
}

Test(verify, a_map_that_is_no_file_is_removed)
{
	cleanup_source struct source a;
	cleanup_free char *map = NULL;
	struct content *ct;

	source_init(&a, BIG, 1);
	ct = content_of(&f, &a);
	cr_assert(eq(int, put_chunk(ct, &a, 0), 0));
	content_close(ct);
	map = partial_path(&f, ".map");
	cr_assert(eq(int, unlink(map), 0));
	cr_assert(eq(int, mknod(map, S_IFSOCK | 0600, 0), 0));
	cr_assert(eq(int, verify(), 0));
	cr_expect(eq(u64, report.removed_partials, 1));
	cr_expect(eq(u32, count_files(&f, "partial"), 0));
}

/* Read errors, as a disk or a server has them: this program's pread() is what
 * the cache calls. */
static int read_error;

ssize_t pread64(int fd, void *buf, size_t n, off64_t off)
{
	if (read_error && n == 5000) {
		errno = read_error;
		return -1;
	}
	return syscall(SYS_pread64, fd, buf, n, off);
}

static struct cache_finding unchecked;

static void keep_unchecked(void *ctx, const struct cache_finding *found)
{
	unchecked = *found;
}

static int verify_failing(int error)
{
	struct cache_verify_options o = {.restart = true,
					 .unchecked = keep_unchecked};
	int r;

	read_error = error;
	r = verify_with(o);
	read_error = 0;
	return r;
}

Test(verify, what_cannot_be_read_is_told_and_kept)
{
	cleanup_source struct source a, b;
	cleanup_free char *path = NULL;

	source_init(&a, 5000, 1);
	source_init(&b, BIG, 2);
	cr_assert(eq(int, seal_all(&f, &a), 0));
	cr_assert(eq(int, seal_all(&f, &b), 0));
	path = blob_path(&f, &a.spec.digest);
	cr_assert(eq(int, verify_failing(EACCES), 0));
	cr_expect(eq(u64, report.blobs, 2));
	cr_expect(eq(u64, report.unchecked, 1));
	cr_expect(eq(u64, report.damaged, 0));
	cr_expect(digest_equal(&unchecked.digest, &a.spec.digest));
	cr_expect(eq(int, (int)unchecked.kind, CACHE_DAMAGED_BLOB));
	cr_expect(eq(int, unchecked.error, EACCES));
	cr_expect(eq(int, access(path, F_OK), 0));
	cr_assert(eq(int, verify_failing(EIO), 0));
	cr_expect(eq(u64, report.damaged, 1));
	cr_expect(eq(int, last.error, EIO));
	cr_expect(eq(int, access(path, F_OK), -1));
}

Test(verify, ends_when_there_is_no_memory)
{
	cleanup_source struct source a;

	source_init(&a, 5000, 1);
	cr_assert(eq(int, seal_all(&f, &a), 0));
	cr_expect(eq(int, verify_failing(ENOMEM), -ENOMEM));
}
