#include "cache/gc.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cache/internal.h"
#include "fixture.h"

static struct fixture f;

#define N     6
#define SIZE  40000
#define SPACE 40960 /* what one takes of the disk */

static struct source s[N];
static struct gc_report report;

/* N blobs; the first was used longest ago. */
static void setup(void)
{
	fixture_open(&f);
	for (unsigned i = 0; i < N; i++) {
		struct timespec used[2] = {{.tv_sec = 1000 + i},
					   {.tv_sec = 1000 + i}};
		cleanup_free char *index = NULL;

		source_init(&s[i], SIZE, i);
		cr_assert(eq(int, seal_all(&f, &s[i]), 0));
		index = index_path(&f, &s[i].spec.digest);
		cr_assert(eq(int, utimensat(AT_FDCWD, index, used, 0), 0));
	}
}

static void teardown(void)
{
	for (unsigned i = 0; i < N; i++)
		source_release(&s[i]);
	fixture_close(&f);
}

TestSuite(gc, .init = setup, .fini = teardown);

static bool there(unsigned i)
{
	return cache_blob_exists(f.c, &s[i].spec.digest, SIZE);
}

/* Which are left, as a string of '0' and '1'. */
static const char *left(void)
{
	static char ret[N + 1];

	for (unsigned i = 0; i < N; i++)
		ret[i] = there(i) ? '1' : '0';
	return ret;
}

static int collect(uint64_t max)
{
	struct gc_options opt = {.max_bytes = max};

	return cache_gc(f.c, &opt, &report, NULL);
}

Test(gc, removes_nothing_below_the_limit)
{
	cr_assert(eq(int, collect(N * SPACE), 0));
	cr_expect(eq(str, (char *)left(), "111111"));
	cr_expect(eq(u64, report.bytes_before, N * SPACE));
	cr_expect(eq(u64, report.bytes_after, N * SPACE));
	cr_assert(eq(int, collect(UINT64_MAX), 0));
	cr_expect(eq(u64, report.blobs, 0));
}

Test(gc, makes_headroom_only_when_something_has_to_go)
{
	struct gc_options opt = {.max_bytes = N * SPACE, .headroom = 2 * SPACE};

	cr_assert(eq(int, cache_gc(f.c, &opt, &report, NULL), 0));
	cr_expect(eq(str, (char *)left(), "111111"));
	opt.max_bytes = 5 * SPACE;
	cr_assert(eq(int, cache_gc(f.c, &opt, &report, NULL), 0));
	cr_expect(eq(str, (char *)left(), "000111"));
	opt.max_bytes = 0;
	opt.headroom = UINT64_MAX;
	cr_assert(eq(int, cache_gc(f.c, &opt, &report, NULL), 0));
	cr_expect(eq(str, (char *)left(), "000000"));
}

Test(gc, removes_the_least_recently_used_first)
{
	cr_assert(eq(int, collect(4 * SPACE), 0));
	cr_expect(eq(str, (char *)left(), "001111"));
	cr_expect(eq(u64, report.blobs, 2));
	cr_expect(eq(u64, report.bytes_after, 4 * SPACE));
	cr_expect(eq(u32, count_files(&f, "trash"), 0));
	cr_expect(eq(u32, count_files(&f, "index"), 4));
}

Test(gc, counts_a_read_as_a_use)
{
	struct content *ct = content_of(&f, &s[0]);

	cr_assert(eq(int, read_back(ct, &s[0], 0), 0));
	content_close(ct);
	cr_assert(eq(int, collect(4 * SPACE), 0));
	cr_expect(eq(str, (char *)left(), "100111"));
}

Test(gc, only_says_what_it_would_do)
{
	struct gc_options opt = {.max_bytes = 0, .dry_run = true};

	cr_assert(eq(int, cache_gc(f.c, &opt, &report, NULL), 0));
	cr_expect(eq(u64, report.blobs, N));
	cr_expect(eq(u64, report.bytes_after, 0));
	cr_expect(eq(str, (char *)left(), "111111"));
}

Test(gc, frees_what_the_disk_needs)
{
	struct gc_options opt = {.max_bytes = UINT64_MAX,
				 .min_free = UINT64_MAX};

	cr_assert(eq(int, cache_gc(f.c, &opt, &report, NULL), 0));
	cr_expect(eq(str, (char *)left(), "000000"));
}

Test(gc, lets_readers_go_on)
{
	struct content *ct = content_of(&f, &s[0]);

	cr_assert(eq(int, read_back(ct, &s[0], 0), 0));
	cr_assert(eq(int, collect(0), 0));
	cr_expect(eq(int, read_back(ct, &s[0], 0), 0));
	content_close(ct);
	cr_assert(eq(int, seal_all(&f, &s[0]), 0), "and be fetched again");
}

Test(gc, keeps_what_a_mount_passes_through)
{
	int fd = cache_blob_open_passthrough(f.c, &s[0].spec.digest, SIZE);

	cr_assert(ge(int, fd, 0));
	cr_assert(eq(int, collect(0), 0));
	cr_expect(eq(str, (char *)left(), "100000"));
	close(fd);
	cr_assert(eq(int, collect(0), 0));
	cr_expect(eq(str, (char *)left(), "000000"));
}

Test(gc, keeps_hardlinked_blobs_which_free_nothing)
{
	cleanup_free char *path = blob_path(&f, &s[1].spec.digest);
	cleanup_free char *to = xasprintf("%s/linked", f.dir);

	cr_assert(eq(int, link(path, to), 0));
	cr_assert(eq(int, collect(0), 0));
	cr_expect(eq(str, (char *)left(), "010000"));
	cr_expect(eq(u64, report.kept_linked, 1));
}

/* A bundle whose manifest is blob 0, root 1, layer tree 2. */
static void record(void)
{
	cr_assert(eq(int,
		     cache_bundle_record(f.c, &s[0].spec.digest,
					 &s[1].spec.digest, &s[2].spec.digest,
					 1, NULL),
		     0));
}

Test(gc, keeps_what_a_lease_names_until_it_is_released)
{
	struct lease *l = NULL;

	record();
	cr_assert(eq(int, lease_take(f.c, &s[0].spec.digest, false, &l, NULL),
		     0));
	cr_assert(eq(int, collect(0), 0));
	cr_expect(eq(str, (char *)left(), "111000"));
	cr_expect(eq(u64, report.kept, 3));
	lease_release(l);
	cr_assert(eq(int, collect(0), 0));
	cr_expect(eq(str, (char *)left(), "000000"));
}

static int expand(void *ctx, const struct digest *manifest, bool content,
		  struct digest_set *needed, struct error **errp)
{
	int *fail = ctx;

	if (*fail)
		return error_set(errp, EIO, "no manifest");
	if (content)
		digest_set_add(needed, &s[5].spec.digest);
	return 0;
}

Test(gc, keeps_what_the_engine_says_a_bundle_needs)
{
	int fail = 0;
	struct gc_options opt = {.expand = expand, .ctx = &fail};
	struct lease *l = NULL;

	record();
	cr_assert(
		eq(int, lease_take(f.c, &s[0].spec.digest, true, &l, NULL), 0));
	cr_assert(eq(int, cache_gc(f.c, &opt, &report, NULL), 0));
	cr_expect(eq(str, (char *)left(), "111001"));
	fail = 1;
	cr_expect(eq(int, cache_gc(f.c, &opt, &report, NULL), -EIO));
	cr_expect(eq(str, (char *)left(), "111001"), "nothing on a guess");
	lease_release(l);
}

/* A command opens the bundle of s[0] just when its document, or the one that is
 * the @opens-th to be, is set aside: this program's renameat() is what the cache
 * calls. */
static unsigned opens;
static struct lease *opened;
static bool no_flags; /* of renameat2(), here */

int renameat2(int from, const char *name, int to, const char *as,
	      unsigned flags)
{
	if (no_flags && flags) {
		errno = EINVAL;
		return -1;
	}
	return (int)syscall(SYS_renameat2, from, name, to, as, flags);
}

int renameat(int from, const char *name, int to, const char *as)
{
	if (opens && --opens == 0) {
		cr_assert(eq(int,
			     lease_take(f.c, &s[0].spec.digest, true, &opened,
					NULL),
			     0));
	}
	return (int)syscall(SYS_renameat, from, name, to, as);
}

static int expand_document(void *ctx, const struct digest *manifest,
			   bool content, struct digest_set *needed,
			   struct error **errp)
{
	if (!cache_blob_exists(f.c, manifest, SIZE))
		return error_set(errp, ENOENT, "no manifest");
	digest_set_add(needed, &s[5].spec.digest);
	return 0;
}

static void check_puts_back(void)
{
	struct gc_options opt = {.expand = expand_document};

	opens = 1;
	cr_assert(eq(int, cache_gc(f.c, &opt, &report, NULL), 0));
	cr_expect(eq(str, (char *)left(), "100001"));
	cr_expect(eq(u32, count_files(&f, "trash"), 0));
	lease_release(opened);
}

Test(gc, puts_a_document_back_to_learn_what_a_new_lease_needs)
{
	check_puts_back();
}

Test(gc, puts_it_back_where_renaming_takes_no_flags)
{
	no_flags = true;
	check_puts_back();
}

static void past_the_tick(void)
{
	const struct timespec pause = {.tv_nsec = 40000000};

	nanosleep(&pause, NULL);
}

/* As a tree that is not here, of a role that nobody pulled. Marking takes so
 * long that its beginning is no longer just now. */
static int expand_tree(void *ctx, const struct digest *manifest, bool content,
		       struct digest_set *needed, struct error **errp)
{
	digest_set_add(needed, &s[1].spec.digest);
	if (cache_blob_exists(f.c, &s[1].spec.digest, SIZE))
		digest_set_add(needed, &s[5].spec.digest);
	else
		past_the_tick();
	return 0;
}

Test(gc, looks_again_at_what_a_document_needs_that_it_has_put_back)
{
	struct gc_options opt = {.expand = expand_tree};

	opens = 2;
	cr_assert(eq(int, cache_gc(f.c, &opt, &report, NULL), 0));
	cr_expect(eq(str, (char *)left(), "010001"));
	lease_release(opened);
}

Test(gc, keeps_everything_when_nobody_knows_what_a_lease_needs)
{
	struct lease *l = NULL;

	cr_assert(
		eq(int, lease_take(f.c, &s[0].spec.digest, true, &l, NULL), 0));
	cr_assert(eq(int, collect(0), 0));
	cr_expect(eq(str, (char *)left(), "111111"));
	lease_release(l);
}

Test(gc, removes_the_lease_of_a_process_that_died)
{
	cleanup_free char *path = NULL;
	cleanup_free char *text = NULL;

	record();
	path = xasprintf("%s/leases/999.dead", cache_path(f.c));
	text = xasprintf("mopslease1 %s meta\n",
			 digest_to_str(&s[0].spec.digest).str);
	write_text(path, text);
	cr_assert(eq(int, collect(0), 0));
	cr_expect(eq(str, (char *)left(), "000000"));
	cr_expect(eq(int, access(path, F_OK), -1));
}

static int count(void *ctx, const struct cache_bundle *b)
{
	unsigned *n = ctx;

	n[b->pinned]++;
	return 0;
}

Test(gc, keeps_a_pinned_bundle)
{
	int fail = 0;
	struct gc_options opt = {.expand = expand, .ctx = &fail};
	unsigned n[2] = {0};

	cr_expect(eq(int, cache_pin(f.c, &s[0].spec.digest, true, NULL),
		     -ENOENT));
	record();
	cr_assert(eq(int, cache_pin(f.c, &s[0].spec.digest, true, NULL), 0));
	cr_assert(eq(int, cache_bundle_each(f.c, count, n, NULL), 0));
	cr_expect(eq(u32, n[1], 1));
	cr_assert(eq(int, cache_gc(f.c, &opt, &report, NULL), 0));
	cr_expect(eq(str, (char *)left(), "111001"));
	cr_assert(eq(int, cache_pin(f.c, &s[0].spec.digest, false, NULL), 0));
	cr_assert(eq(int, cache_gc(f.c, &opt, &report, NULL), 0));
	cr_expect(eq(str, (char *)left(), "000000"));
	n[0] = n[1] = 0;
	cr_assert(eq(int, cache_bundle_each(f.c, count, n, NULL), 0));
	cr_expect(eq(u32, n[0] + n[1], 0), "gone with its manifest");
}

static void pin_first(void *ctx, const struct digest *d, uint64_t bytes)
{
	unsigned *n = ctx;

	if (++*n == 1)
		cr_assert(eq(int, cache_pin(f.c, &s[0].spec.digest, true, NULL),
			     0));
	past_the_tick();
}

Test(gc, keeps_what_is_pinned_while_it_runs)
{
	unsigned n = 0;
	struct gc_options opt = {.removed = pin_first, .ctx = &n};

	record();
	past_the_tick();
	cr_assert(eq(int, cache_gc(f.c, &opt, &report, NULL), 0));
	cr_expect(eq(str, (char *)left(), "011111"));
}

Test(gc, keeps_partials_that_are_being_written)
{
	struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	cleanup_source struct source big;
	cleanup_free char *part = NULL;
	struct content *ct;

	source_init(&big, CHUNK_SIZE + SIZE, 77);
	ct = content_of(&f, &big);
	cr_assert(eq(int, put_chunk(ct, &big, 0), 0));
	cr_assert(eq(int, collect(0), 0));
	cr_expect(eq(u64, report.partials, 0));
	part = partial_path(&f, ".part");
	cr_assert(eq(int, utimensat(AT_FDCWD, part, old, 0), 0));
	cr_assert(eq(int, collect(0), 0));
	cr_expect(eq(u64, report.partials, 1));
	cr_expect(eq(u32, count_files(&f, "partial"), 0));
	/* Its writer is told, and begins another. */
	cr_expect(eq(int, put_all(ct, &big), 0));
	cr_expect(eq(int, content_seal(ct, NULL), 0));
	content_close(ct);
}

static void put_draft(const char *name, bool old)
{
	struct timespec used[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	int fd = openat(cache_dirfd(f.c), name, O_WRONLY | O_CREAT, 0600);

	cr_assert(ge(int, fd, 0));
	if (old)
		cr_assert(eq(int, futimens(fd, used), 0));
	close(fd);
}

static bool has(const char *name)
{
	return faccessat(cache_dirfd(f.c), name, F_OK, 0) == 0;
}

Test(gc, sweeps_what_kills_left_of_replaced_files)
{
	struct digest d;

	put_draft(".tmp-0123456789abcdef", true);
	put_draft("refs/.tmp-0123456789abcdef", true);
	put_draft("refs/.tmp-fedcba9876543210", false);
	cr_assert(
		eq(int, cache_ref_put(f.c, "a:1", &s[0].spec.digest, NULL), 0));
	cr_assert(eq(int, collect(0), 0));
	cr_expect(eq(u64, report.leftovers, 2));
	cr_expect(not(has(".tmp-0123456789abcdef")));
	cr_expect(not(has("refs/.tmp-0123456789abcdef")));
	cr_expect(has("refs/.tmp-fedcba9876543210"), "somebody is at it");
	cr_expect(eq(int, cache_ref_get(f.c, "a:1", &d, NULL), 0));
}

static int fill_nothing(void *ctx, int dirfd, const char *to_blobs,
			struct error **errp)
{
	return 0;
}

Test(gc, drops_layers_that_no_lease_needs)
{
	struct lease *l = NULL;

	record();
	for (unsigned i = 2; i < 4; i++)
		cr_assert(eq(int,
			     cache_layer_build(f.c, &s[i].spec.digest,
					       fill_nothing, NULL, NULL),
			     0));
	cr_assert(eq(int, lease_take(f.c, &s[0].spec.digest, false, &l, NULL),
		     0));
	cr_assert(eq(int, collect(0), 0));
	cr_expect(eq(u64, report.layers, 1));
	lease_release(l);
	cr_assert(eq(int, collect(0), 0));
	cr_expect(eq(u64, report.layers, 1));
}

Test(gc, runs_once_at_a_time)
{
	cleanup_free char *path = xasprintf("%s/locks/gc", cache_path(f.c));
	int fd;

	cr_assert(eq(int, collect(UINT64_MAX), 0));
	fd = open(path, O_RDWR | O_CLOEXEC);
	cr_assert(eq(int, ofd_try_lock(fd, LOCK_EXCLUSIVE, 0, 1), 0));
	cr_expect(eq(int, collect(0), -EBUSY));
	cr_expect(eq(str, (char *)left(), "111111"));
	close(fd);
}
