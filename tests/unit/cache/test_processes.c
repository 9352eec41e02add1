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
#include <dirent.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/random.h"
#include "cache/verify.h"
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

TestSuite(processes, .init = setup, .fini = teardown);

#define BIG (3u * CHUNK_SIZE + 12345)

/* Run @child in @n processes, each with a cache of its own, at once. */
static void run(unsigned n, int (*child)(struct cache *c, void *ctx), void *ctx)
{
	cleanup_free pid_t *pids = xcalloc(n, sizeof(*pids));

	for (unsigned i = 0; i < n; i++) {
		pids[i] = fork();
		cr_assert(ge(int, pids[i], 0));
		if (pids[i] == 0) {
			struct cache *c = NULL;

			if (cache_open(cache_path(f.c), &c, NULL) < 0)
				_exit(100);
			_exit(child(c, ctx));
		}
	}
	for (unsigned i = 0; i < n; i++) {
		int status = -1;

		cr_assert(eq(int, waitpid(pids[i], &status, 0), pids[i]));
		cr_expect(eq(int, status, 0), "exit %d", WEXITSTATUS(status));
	}
}

static int put_and_seal(struct cache *c, void *ctx)
{
	struct fixture mine = {.c = c};
	const struct source *s = ctx;
	struct content *ct = content_of(&mine, s);
	int64_t deadline = time_deadline_ms(20000);
	int r;

	if (put_all(ct, s) != 0)
		return 1;
	do {
		r = content_seal(ct, NULL);
	} while (r == -EAGAIN && time_mono_ns() < deadline);
	if (r != 0 || cache_sync(c, NULL) != 0)
		return 2;
	for (uint32_t i = 0; i < s->n; i++)
		if (read_back(ct, s, i) != 0)
			return 3;
	content_close(ct);
	return 0;
}

static void all_seal(uint64_t size)
{
	cleanup_source struct source s;
	struct stat st;
	int fd;

	source_init(&s, size, 1);
	run(8, put_and_seal, &s);
	cr_expect(eq(u32, count_files(&f, "blobs"), 1));
	cr_expect(eq(u32, count_files(&f, "partial"), 0));
	cr_expect(eq(u32, count_files(&f, "quarantine"), 0));
	fd = blob_open_raw(f.c, &s.spec.digest, size, &st);
	cr_assert(ge(int, fd, 0));
	cr_expect(eq(u32, st.st_mode & 07777, 0444));
	cr_expect(eq(ulong, (unsigned long)st.st_nlink, 1));
	cr_expect(statindex_matches(f.c, &s.spec.digest, &st));
	close(fd);
}

Test(processes, all_put_and_seal_one_big_content)
{
	all_seal(BIG);
}

Test(processes, all_put_and_seal_one_small_content)
{
	all_seal(5000);
}

struct flight {
	struct source s;
	atomic_uint *fetched; /* one counter a chunk, in shared memory */
};

static int fetch_once(struct cache *c, void *ctx)
{
	struct fixture mine = {.c = c};
	struct flight *fl = ctx;
	struct content *ct = content_of(&mine, &fl->s);

	for (uint32_t i = 0; i < fl->s.n; i++) {
		int r = content_claim(ct, i, 1, time_deadline_ms(20000));

		if (r == 1)
			continue;
		if (r < 0)
			return 1;
		atomic_fetch_add(&fl->fetched[i], 1);
		time_sleep_ms(5); /* the network */
		if (put_chunk(ct, &fl->s, i) != 0)
			return 2;
		content_unclaim(ct, i, 1);
	}
	content_close(ct);
	return 0;
}

Test(processes, fetch_each_chunk_once)
{
	struct flight fl = {0};

	source_init(&fl.s, BIG, 1);
	fl.fetched = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	run(8, fetch_once, &fl);
	for (uint32_t i = 0; i < fl.s.n; i++)
		cr_expect(eq(u32, atomic_load(&fl.fetched[i]), 1));
	source_release(&fl.s);
}

static int claim_and_count(struct cache *c, void *ctx)
{
	struct digest d = digest_of_str("x");
	atomic_uint *inside = ctx;

	for (int i = 0; i < 20; i++) {
		struct claim *cl = NULL;

		if (claim_take(c, &d, TIME_NEVER, &cl) != 0)
			return 1;
		if (atomic_fetch_add(inside, 1) != 0)
			return 2;
		atomic_fetch_sub(inside, 1);
		claim_release(cl);
	}
	return 0;
}

Test(processes, hold_a_claim_one_at_a_time)
{
	run(4, claim_and_count,
	    mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		 -1, 0));
}

/*
 * Killed anywhere, again and again; then one that is not killed must succeed,
 * and nothing in the cache may be wrong.
 */
Test(processes, killed_at_any_moment_do_no_harm, .timeout = 50)
{
	cleanup_source struct source big, small;
	const struct cache_verify_options options = {.restart = true};
	struct cache_report report;
	unsigned killed = 0;

	source_init(&big, BIG, 1);
	source_init(&small, 5000, 2);
	for (unsigned i = 0; i < 60; i++) {
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			struct cache *c = NULL;

			if (cache_open(cache_path(f.c), &c, NULL) < 0)
				_exit(100);
			_exit(put_and_seal(c, &big) + put_and_seal(c, &small));
		}
		usleep((useconds_t)random_below(25000));
		kill(pid, SIGKILL);
		cr_assert(eq(int, waitpid(pid, &status, 0), pid));
		killed += WIFSIGNALED(status);
		if (!WIFSIGNALED(status)) {
			cleanup_free char *a = blob_path(&f, &big.spec.digest);
			cleanup_free char *b =
				blob_path(&f, &small.spec.digest);

			cr_expect(eq(int, status, 0));
			unlink(a);
			unlink(b);
		}
		cr_assert(
			eq(int, cache_verify(f.c, &options, &report, NULL), 0));
		cr_expect(eq(u64, report.damaged, 0));
	}
	cr_expect(gt(u32, killed, 5), "else this tests nothing");
	cr_expect(eq(int, seal_all(&f, &big), 0));
	cr_expect(eq(int, seal_all(&f, &small), 0));
	cr_expect(eq(u32, count_files(&f, "quarantine"), 0));
}

static unsigned open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

Test(processes, use_few_descriptors_for_many_contents)
{
	enum { N = 120 };
	static struct source s[N];
	static struct content *ct[N];
	unsigned before = open_descriptors();

	f.c->open_contents.max = 8;
	f.c->batch_max = 8;
	for (unsigned i = 0; i < N; i++) {
		source_init(&s[i], i % 3 ? 2000 + i : CHUNK_SIZE + 100 + i, i);
		ct[i] = content_of(&f, &s[i]);
		cr_assert(eq(int, put_all(ct[i], &s[i]), 0));
		if (i % 2)
			cr_assert(eq(int, content_seal(ct[i], NULL), 0));
		cr_assert(le(u32, open_descriptors(), before + 8 * 3 + 4));
	}
	for (unsigned i = 0; i < N; i++) {
		cr_expect(eq(int, read_back(ct[i], &s[i], 0), 0));
		cr_assert(le(u32, open_descriptors(), before + 8 * 3 + 4));
	}
	for (unsigned i = 0; i < N; i++) {
		content_close(ct[i]);
		source_release(&s[i]);
	}
	cr_assert(eq(int, cache_sync(f.c, NULL), 0));
	cr_expect(eq(u32, open_descriptors(), before));
}
