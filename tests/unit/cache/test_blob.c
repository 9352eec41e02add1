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
#include <sys/resource.h>
#include <signal.h>

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

TestSuite(blob, .init = setup, .fini = teardown);

static struct digest put(const char *text)
{
	struct digest d = digest_of_str(text);

	cr_assert(eq(int, cache_doc_put(f.c, &d, text, strlen(text), NULL), 0));
	return d;
}

static int open_it(const struct digest *d, uint64_t size)
{
	cleanup_fd int fd = cache_blob_open(f.c, d, size, NULL);

	return fd < 0 ? fd : 0;
}

Test(blob, is_absent_at_first)
{
	cleanup_error struct error *err = NULL;
	struct digest d = digest_of_str("x");

	cr_expect(eq(int, cache_blob_open(f.c, &d, 1, &err), -ENOENT));
	cr_expect(not(cache_blob_exists(f.c, &d, 1)));
	cr_expect(eq(int, cache_blob_open_passthrough(f.c, &d, 1), -EAGAIN));
}

Test(blob, is_sealed_read_only_under_its_digest)
{
	struct digest d = put("hello, world");
	cleanup_free char *path = blob_path(&f, &d);
	struct stat st;

	cr_assert(eq(int, stat(path, &st), 0));
	cr_expect(eq(u32, st.st_mode & 07777, 0444));
	cr_expect(eq(int, open_it(&d, 12), 0));
	cr_expect(eq(u32, count_files(&f, "tmp"), 0));
}

Test(blob, refuses_bytes_that_are_not_what_was_asked_for)
{
	struct digest d = digest_of_str("weights");

	cr_assert(
		eq(int, cache_doc_put(f.c, &d, "tampered", 8, NULL), -EBADMSG));
	cr_expect(eq(u32, count_files(&f, "blobs"), 0));
	cr_expect(eq(u32, count_files(&f, "tmp"), 0));
}

Test(blob, refuses_more_than_announced)
{
	struct draft *s = NULL;

	cr_assert(eq(int, draft_new(f.c, 4, &s, NULL), 0));
	cr_assert(eq(int, draft_write(s, "abc", 3, NULL), 0));
	cr_expect(eq(int, draft_write(s, "de", 2, NULL), -EBADMSG));
	draft_discardp(&s);
}

Test(blob, lets_the_second_writer_succeed)
{
	struct digest d = digest_of_str("same");
	struct draft *a = NULL, *b = NULL;

	cr_assert(eq(int, draft_new(f.c, 4, &a, NULL), 0));
	cr_assert(eq(int, draft_new(f.c, 4, &b, NULL), 0));
	cr_assert(eq(int, draft_write(a, "same", 4, NULL), 0));
	cr_assert(eq(int, draft_write(b, "same", 4, NULL), 0));
	cr_expect(eq(int, draft_publish(a, &d, NULL), 0));
	cr_expect(eq(int, draft_publish(b, &d, NULL), 0));
	draft_discardp(&a);
	draft_discardp(&b);
	cr_expect(eq(u32, count_files(&f, "blobs"), 1));
}

Test(blob, leaves_nothing_when_discarded)
{
	struct draft *s = NULL;

	cr_assert(eq(int, draft_new(f.c, 1 << 20, &s, NULL), 0));
	cr_assert(eq(int, draft_write(s, "x", 1, NULL), 0));
	draft_discardp(&s);
	cr_expect(eq(u32, count_files(&f, "tmp"), 0));
	cr_expect(eq(u32, count_files(&f, "blobs"), 0));
}

Test(blob, of_a_wrong_size_is_quarantined_and_replaced)
{
	struct digest d = put("some text");
	cleanup_free char *path = blob_path(&f, &d);

	cr_assert(eq(int, chmod(path, 0600), 0));
	cr_assert(eq(int, truncate(path, 3), 0));
	cr_expect(eq(int, open_it(&d, 9), -ENOENT));
	cr_expect(eq(u32, count_files(&f, "quarantine"), 1));
	put("some text");
	cr_expect(eq(int, open_it(&d, 9), 0));
}

Test(blob, of_a_wrong_size_gives_way_to_a_right_one)
{
	struct digest d = put("some text");
	cleanup_free char *path = blob_path(&f, &d);
	struct draft *s = NULL;

	cr_assert(eq(int, chmod(path, 0600), 0));
	cr_assert(eq(int, truncate(path, 3), 0));
	cr_assert(eq(int, draft_new(f.c, 9, &s, NULL), 0));
	cr_assert(eq(int, draft_write(s, "some text", 9, NULL), 0));
	cr_assert(eq(int, draft_publish(s, &d, NULL), 0));
	draft_discardp(&s);
	cr_expect(eq(int, open_it(&d, 9), 0));
}

Test(blob, with_a_flipped_byte_is_found_at_its_next_use)
{
	struct digest d = put("some text");
	cleanup_free char *path = blob_path(&f, &d);

	for (long i = 0; i < 9; i++) {
		flip_byte(path, i);
		cr_expect(eq(int, open_it(&d, 9), -ENOENT));
		cr_expect(not(cache_blob_exists(f.c, &d, 9)));
		put("some text");
		cr_expect(eq(int, open_it(&d, 9), 0));
	}
	cr_expect(eq(u32, count_files(&f, "quarantine"), 9));
}

Test(blob, that_is_a_symlink_is_not_followed)
{
	struct digest d = put("some text");
	cleanup_free char *path = blob_path(&f, &d);
	cleanup_free char *other = xasprintf("%s/other", f.dir);

	cr_assert(eq(int, rename(path, other), 0));
	cr_assert(eq(int, symlink(other, path), 0));
	cr_expect(eq(int, open_it(&d, 9), -ENOENT));
	cr_expect(eq(int, access(other, F_OK), 0));
	put("some text");
	cr_expect(eq(int, open_it(&d, 9), 0));
}

Test(blob, that_is_a_folder_or_a_fifo_does_not_block_progress)
{
	struct digest d = put("some text");
	cleanup_free char *path = blob_path(&f, &d);

	cr_assert(eq(int, unlink(path), 0));
	cr_assert(eq(int, mkdir(path, 0700), 0));
	cr_expect(eq(int, open_it(&d, 9), -ENOENT));
	cr_assert(eq(int, mkfifo(path, 0600), 0));
	cr_expect(eq(int, open_it(&d, 9), -ENOENT));
	put("some text");
	cr_expect(eq(int, open_it(&d, 9), 0));
}

Test(blob, is_hashed_again_when_its_index_record_is_lost_or_damaged)
{
	struct digest d = put("some text");
	cleanup_free char *index = index_path(&f, &d);
	struct stat st;

	cr_assert(eq(long, file_size(index), STATINDEX_RECORD));
	for (long i = 0; i < STATINDEX_RECORD; i++) {
		flip_byte(index, i);
		cr_expect(eq(int, cache_blob_open_passthrough(f.c, &d, 9),
			     -EAGAIN));
		cr_expect(eq(int, open_it(&d, 9), 0), "hashed, recorded anew");
		cr_expect(eq(int, stat(index, &st), 0));
	}
	cr_assert(eq(int, truncate(index, 50), 0));
	cr_expect(eq(int, open_it(&d, 9), 0));
	cr_assert(eq(int, unlink(index), 0));
	cr_expect(eq(int, open_it(&d, 9), 0));
	cr_expect(eq(long, file_size(index), STATINDEX_RECORD));
	cr_expect(eq(u32, count_files(&f, "quarantine"), 0));
}

/* A document, and its record made when its time is a tick ago. */
static struct digest put_long_ago(const char *text)
{
	struct digest d = put(text);

	time_sleep_ms(25);
	cr_assert(eq(int, open_it(&d, strlen(text)), 0));
	return d;
}

/* A forged one would have a changed blob believed. */
Test(blob, a_record_that_others_may_write_is_not_believed)
{
	struct digest d = put("some text");
	cleanup_free char *path = blob_path(&f, &d);
	cleanup_free char *index = index_path(&f, &d);
	struct stat st;

	cr_assert(eq(int, stat(path, &st), 0));
	statindex_put(f.c, &d, &st, timespec_ns(&st.st_mtim) + 3 * NS_PER_S);
	cr_expect(statindex_matches(f.c, &d, &st));
	cr_assert(eq(int, chmod(index, 0620), 0));
	cr_expect(not(statindex_matches(f.c, &d, &st)));
	cr_assert(eq(int, chmod(index, 0600), 0));
	cr_expect(statindex_matches(f.c, &d, &st));
	if (geteuid() != 0)
		return;
	cr_assert(eq(int, chown(index, 12345, (gid_t)-1), 0));
	cr_expect(not(statindex_matches(f.c, &d, &st)));
}

/* A change within the tick of the hashing may leave the stat as it was. */
Test(blob, a_record_of_the_same_tick_is_not_believed)
{
	struct digest d = put("some text");
	cleanup_free char *path = blob_path(&f, &d);
	struct stat st;
	int64_t at;

	cr_assert(eq(int, stat(path, &st), 0));
	st.st_mtim.tv_nsec = 500000000;
	at = timespec_ns(&st.st_mtim);
	statindex_put(f.c, &d, &st, at + NS_PER_MS);
	cr_expect(not(statindex_matches(f.c, &d, &st)));
	statindex_put(f.c, &d, &st, at + 30 * NS_PER_MS);
	cr_expect(statindex_matches(f.c, &d, &st));

	/* Where times are whole seconds, a tick is one, or two. */
	st.st_mtim.tv_nsec = 0;
	at = timespec_ns(&st.st_mtim);
	statindex_put(f.c, &d, &st, at + 30 * NS_PER_MS);
	cr_expect(not(statindex_matches(f.c, &d, &st)));
	statindex_put(f.c, &d, &st, at + 2 * NS_PER_S);
	cr_expect(statindex_matches(f.c, &d, &st));
}

Test(blob, a_sealed_content_is_believed_at_once)
{
	struct source s;
	cleanup_fd int fd = -1;

	source_init(&s, 3 * CHUNK_SIZE, 1);
	cr_assert(eq(int, seal_all(&f, &s), 0));
	fd = cache_blob_open_passthrough(f.c, &s.spec.digest, s.spec.size);
	cr_expect(ge(int, fd, 0));
	source_release(&s);
}

Test(blob, is_passed_through_only_with_one_link)
{
	struct digest d = put_long_ago("some text");
	cleanup_free char *path = blob_path(&f, &d);
	cleanup_free char *other = xasprintf("%s/other", f.dir);
	int fd = cache_blob_open_passthrough(f.c, &d, 9);

	cr_assert(ge(int, fd, 0));
	close(fd);
	cr_assert(eq(int, link(path, other), 0));
	cr_expect(eq(int, cache_blob_open_passthrough(f.c, &d, 9), -EAGAIN));
	cr_assert(eq(int, unlink(other), 0));
	cr_expect(eq(int, cache_blob_open_passthrough(f.c, &d, 9), -EAGAIN),
		  "its ctime moved");
	cr_expect(eq(int, open_it(&d, 9), 0), "which hashes it");
	fd = cache_blob_open_passthrough(f.c, &d, 9);
	cr_expect(ge(int, fd, 0));
	closep(&fd);
}

Test(blob, is_passed_through_once_more_only_as_it_was)
{
	struct digest d = put_long_ago("some text");
	cleanup_free char *path = blob_path(&f, &d);
	cleanup_free char *away = xasprintf("%s/away", f.dir);
	cleanup_fd int fd = cache_blob_open_passthrough(f.c, &d, 9);

	cr_assert(ge(int, fd, 0));
	cr_expect(cache_blob_still_passable(f.c, &d, fd));
	cr_assert(eq(int, rename(path, away), 0));
	cr_expect(not(cache_blob_still_passable(f.c, &d, fd)),
		  "its name is gone");
	cr_assert(eq(int, rename(away, path), 0));
	cr_assert(eq(int, open_it(&d, 9), 0));
	cr_expect(cache_blob_still_passable(f.c, &d, fd));
	cr_assert(eq(int, chmod(path, 0644), 0));
	cr_expect(not(cache_blob_still_passable(f.c, &d, fd)),
		  "it was touched");
}

Test(blob, that_is_writable_is_not_passed_through)
{
	struct digest d = put("some text");
	cleanup_free char *path = blob_path(&f, &d);

	cr_assert(eq(int, chmod(path, 0644), 0));
	cr_expect(eq(int, open_it(&d, 9), 0));
	cr_expect(eq(int, cache_blob_open_passthrough(f.c, &d, 9), -EAGAIN));
}

Test(blob, that_does_not_fit_leaves_nothing)
{
	struct rlimit lim = {.rlim_cur = 4096, .rlim_max = RLIM_INFINITY};
	static const char big[8192];
	struct draft *s = NULL;

	signal(SIGXFSZ, SIG_IGN);
	cr_assert(eq(int, setrlimit(RLIMIT_FSIZE, &lim), 0));
	cr_assert(eq(int, draft_new(f.c, 0, &s, NULL), 0));
	cr_expect(eq(int, draft_write(s, big, sizeof(big), NULL), -EFBIG));
	draft_discardp(&s);
	cr_expect(eq(u32, count_files(&f, "blobs"), 0));
	cr_expect(eq(u32, count_files(&f, "tmp"), 0));
}

Test(blob, of_a_size_beyond_the_disk_is_refused_before_a_byte_is_fetched)
{
	cleanup_error struct error *err = NULL;
	struct draft *s = NULL;

	cr_expect(
		eq(int, draft_new(f.c, UINT64_C(1) << 62, &s, &err), -ENOSPC));
	cr_expect(err->hint && strstr(err->hint, "mops cache gc"));
	cr_expect(eq(ptr, s, NULL));
	cr_expect(eq(u32, count_files(&f, "tmp"), 0));
}
