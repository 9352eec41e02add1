#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cache/internal.h"
#include "fixture.h"

static struct fixture f, site;

#define BIG (CHUNK_SIZE + 5000)

static struct source s;

/* A site's cache that has one blob, below one of our own. */
static void setup(void)
{
	fixture_open(&site);
	fixture_open(&f);
	source_init(&s, BIG, 1);
	cr_assert(eq(int, seal_all(&site, &s), 0));
	cr_assert(
		eq(int, cache_add_alternate(f.c, cache_path(site.c), NULL), 0));
}

static void teardown(void)
{
	source_release(&s);
	fixture_close(&f);
	fixture_close(&site);
}

TestSuite(alternate, .init = setup, .fini = teardown);

Test(alternate, blobs_are_read_where_they_are)
{
	struct content *ct = content_of(&f, &s);
	int fd;

	cr_expect(not(content_sealed(ct)), "not hashed by us");
	cr_expect(eq(int, read_back(ct, &s, 1), 0));
	cr_expect(eq(int, put_chunk(ct, &s, 1), 0), "nothing to add");
	cr_expect(eq(int, cache_blob_open_passthrough(f.c, &s.spec.digest, BIG),
		     -EAGAIN),
		  "not before we hashed it ourselves");
	cr_assert(eq(int, content_seal(ct, NULL), 0));
	cr_expect(content_sealed(ct));
	content_close(ct);
	fd = cache_blob_open_passthrough(f.c, &s.spec.digest, BIG);
	cr_expect(ge(int, fd, 0));
	closep(&fd);
	cr_expect(eq(u32, count_files(&f, "blobs"), 0), "nothing is copied");
}

Test(alternate, documents_are_read_too)
{
	struct digest d = digest_of_str("{}"), e = digest_of_str("[]");
	cleanup_free char *text = NULL;
	cleanup_free char *path = NULL;
	size_t len;

	cr_assert(eq(int, cache_doc_put(site.c, &d, "{}", 2, NULL), 0));
	cr_assert(eq(int, cache_doc_get(f.c, &d, 100, &text, &len, NULL), 0));
	cr_expect(eq(str, text, "{}"));
	cr_assert(eq(int, cache_doc_put(site.c, &e, "[]", 2, NULL), 0));
	path = blob_path(&site, &e);
	flip_byte(path, 0);
	freep(&text);
	cr_expect(eq(int, cache_doc_get(f.c, &e, 100, &text, &len, NULL),
		     -ENOENT));
	cr_expect(eq(int, access(path, F_OK), 0), "theirs stays");
}

/* -errno, or the way it was done. */
static int link_to(enum link_how how, const char *name)
{
	cleanup_fd int dir = open(f.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct link_request rq = {.digest = &s.spec.digest,
				  .size = BIG,
				  .mode = 0644,
				  .how = how};
	enum link_how done = LINK_AUTO;
	int r;

	cr_assert(ge(int, dir, 0));
	r = cache_link_out(f.c, &rq, dir, name, &done, NULL);
	return r < 0 ? r : (int)done;
}

Test(alternate, blobs_are_linked_out_but_not_hardlinked)
{
	cleanup_free char *to = xasprintf("%s/a", f.dir);

	cr_expect(eq(int, link_to(LINK_HARDLINK, "a"), LINK_COPY));
	cr_expect(eq(long, file_size(to), BIG));
	cr_expect(eq(int, link_to(LINK_SYMLINK, "b"), LINK_COPY),
		  "no way through their folders");
	cr_expect(ge(int, link_to(LINK_AUTO, "c"), 0));
}

/* Where there are reflinks, by a clone of what its owner changed. */
Test(alternate, damage_is_not_linked_out)
{
	cleanup_free char *theirs = blob_path(&site, &s.spec.digest);

	flip_byte(theirs, 5);
	cr_expect(eq(int, link_to(LINK_AUTO, "a"), -ENOENT));
	cr_assert(eq(int, seal_all(&f, &s), 0));
	cr_expect(ge(int, link_to(LINK_AUTO, "a"), 0));
}

Test(alternate, damage_is_found_and_healed_in_our_own)
{
	cleanup_free char *theirs = blob_path(&site, &s.spec.digest);
	cleanup_free char *ours = blob_path(&f, &s.spec.digest);
	struct content *ct = content_of(&f, &s);

	flip_byte(theirs, CHUNK_SIZE + 1);
	cr_expect(eq(int, read_back(ct, &s, 0), 0));
	cr_expect(eq(int, read_back(ct, &s, 1), -ENOENT));
	cr_expect(not(content_sealed(ct)));
	cr_expect(eq(int, access(theirs, F_OK), 0), "theirs stays");
	cr_assert(eq(int, put_all(ct, &s), 0));
	cr_assert(eq(int, content_seal(ct, NULL), 0));
	cr_expect(eq(int, read_back(ct, &s, 1), 0));
	cr_expect(eq(int, access(ours, F_OK), 0));
	content_close(ct);
	cr_expect(eq(u32, count_files(&f, "quarantine"), 0));
}

/* For a pack's file, which is checked as a whole: its owner could spoil it for
 * that check, and mend it for the one that looks for the damage. */
Test(alternate, parts_are_read_by_checked_chunks)
{
	cleanup_free char *theirs = blob_path(&site, &s.spec.digest);
	struct content *ct = content_of(&f, &s);
	char buf[100];

	cr_assert(eq(int,
		     content_read_unverified(ct, buf, sizeof(buf),
					     CHUNK_SIZE - 50),
		     0));
	cr_expect(
		eq(int, memcmp(buf, s.data + CHUNK_SIZE - 50, sizeof(buf)), 0));
	flip_byte(theirs, CHUNK_SIZE + 4000);
	cr_expect(eq(int,
		     content_read_unverified(ct, buf, sizeof(buf),
					     CHUNK_SIZE - 50),
		     -ENOENT));
	content_close(ct);
}

Test(alternate, damage_is_found_before_a_whole_blob_is_used)
{
	cleanup_free char *theirs = blob_path(&site, &s.spec.digest);

	flip_byte(theirs, 1);
	cr_expect(eq(int, cache_blob_open(f.c, &s.spec.digest, BIG, NULL),
		     -ENOENT));
	cr_expect(not(cache_blob_exists(f.c, &s.spec.digest, BIG)));
	cr_assert(eq(int, seal_all(&f, &s), 0));
	cr_expect(cache_blob_exists(f.c, &s.spec.digest, BIG));
}

Test(alternate, there_are_only_so_many)
{
	cleanup_free char *none = xasprintf("%s/none", f.dir);

	cr_expect(eq(int, cache_add_alternate(f.c, none, NULL), -ENOENT));
	for (int i = 1; i < ALTERNATES_MAX; i++)
		cr_assert(eq(int,
			     cache_add_alternate(f.c, cache_path(site.c), NULL),
			     0));
	cr_expect(eq(int, cache_add_alternate(f.c, cache_path(site.c), NULL),
		     -EINVAL));
}

static void give_away(const char *path)
{
	if (geteuid() != 0)
		cr_skip_test("only root can give a file away");
	cr_assert(eq(int, chown(path, 12345, 12345), 0));
}

Test(alternate, another_users_blob_is_copied_before_it_counts)
{
	cleanup_free char *theirs = blob_path(&site, &s.spec.digest);
	struct content *ct = content_of(&f, &s);

	give_away(theirs);
	cr_expect(eq(int, read_back(ct, &s, 0), 0));
	cr_expect(not(content_sealed(ct)));
	cr_assert(eq(int, content_seal(ct, NULL), 0));
	cr_expect(content_sealed(ct));
	cr_expect(eq(u32, count_files(&f, "blobs"), 1), "a copy");
	flip_byte(theirs, 0);
	cr_expect(eq(int, read_back(ct, &s, 0), 0), "ours is read");
	content_close(ct);
}

/* It grows after it was opened; a clone would be as long. */
Test(alternate, no_more_than_the_blob_is_copied)
{
	cleanup_free char *theirs = blob_path(&site, &s.spec.digest);
	cleanup_free char *ours = blob_path(&f, &s.spec.digest);
	struct content *ct = content_of(&f, &s);

	give_away(theirs);
	cr_expect(eq(int, read_back(ct, &s, 0), 0));
	cr_assert(eq(int, truncate(theirs, BIG + 10), 0));
	cr_assert(eq(int, content_seal(ct, NULL), 0));
	cr_expect(eq(long, file_size(ours), BIG));
	content_close(ct);
}

Test(alternate, another_users_damaged_blob_is_not_copied)
{
	cleanup_free char *theirs = blob_path(&site, &s.spec.digest);
	struct content *ct = content_of(&f, &s);

	give_away(theirs);
	cr_expect(eq(int, read_back(ct, &s, 0), 0));
	flip_byte(theirs, BIG - 1);
	cr_expect(eq(int, content_seal(ct, NULL), -EAGAIN));
	cr_expect(not(content_sealed(ct)));
	cr_expect(eq(u32, count_files(&f, "blobs"), 0));
	cr_expect(eq(int, content_read_unverified(ct, (char[1]){0}, 1, 0),
		     -ENOENT));
	cr_assert(eq(int, put_all(ct, &s), 0));
	cr_assert(eq(int, content_seal(ct, NULL), 0));
	cr_expect(eq(int, read_back(ct, &s, 1), 0));
	content_close(ct);
}

/* Whoever may write may do so through a mapping, which no stat shows. */
Test(alternate, roots_blob_that_others_may_write_is_copied_too)
{
	cleanup_free char *theirs = blob_path(&site, &s.spec.digest);
	struct content *ct = content_of(&f, &s);

	cr_assert(eq(int, chmod(theirs, 0464), 0));
	cr_assert(eq(int, content_seal(ct, NULL), 0));
	cr_expect(eq(u32, count_files(&f, "blobs"), 1), "a copy");
	content_close(ct);
}

Test(alternate, what_is_kept_needs_nobody_else)
{
	cleanup_free char *theirs = blob_path(&site, &s.spec.digest);
	struct digest other = digest_of_str("other");

	cr_expect(eq(int, cache_blob_keep(f.c, &other, 5), -ENOENT));
	cr_assert(eq(int, cache_blob_keep(f.c, &s.spec.digest, BIG), 0));
	cr_expect(eq(u32, count_files(&f, "blobs"), 0), "ours, or root's");
	give_away(theirs);
	cr_assert(eq(int, cache_blob_keep(f.c, &s.spec.digest, BIG), 0));
	cr_expect(eq(u32, count_files(&f, "blobs"), 1), "a copy");
	cr_assert(eq(int, unlink(theirs), 0));
	cr_expect(eq(int, cache_blob_keep(f.c, &s.spec.digest, BIG), 0));
}

Test(alternate, damage_is_not_kept)
{
	cleanup_free char *theirs = blob_path(&site, &s.spec.digest);

	give_away(theirs);
	flip_byte(theirs, 0);
	cr_expect(eq(int, cache_blob_keep(f.c, &s.spec.digest, BIG), -ENOENT));
	cr_expect(eq(u32, count_files(&f, "blobs"), 0));
}

Test(alternate, odd_things_under_a_name_are_nothing)
{
	cleanup_free char *theirs = blob_path(&site, &s.spec.digest);

	cr_assert(eq(int, unlink(theirs), 0));
	cr_assert(eq(int, mkfifo(theirs, 0666), 0));
	cr_expect(eq(int, cache_blob_open(f.c, &s.spec.digest, BIG, NULL),
		     -ENOENT));
	cr_assert(eq(int, unlink(theirs), 0));
	cr_assert(eq(int, symlink("/proc/self/exe", theirs), 0));
	cr_expect(eq(int, cache_blob_open(f.c, &s.spec.digest, BIG, NULL),
		     -ENOENT));
}

/* Its holder could keep whoever opens it waiting. */
Test(alternate, a_file_under_a_lease_is_not_waited_for)
{
	cleanup_free char *theirs = blob_path(&site, &s.spec.digest);
	cleanup_fd int fd = -1;

	cr_assert(eq(int, chmod(theirs, 0644), 0));
	fd = open(theirs, O_RDWR | O_CLOEXEC);
	cr_assert(ge(int, fd, 0));
	if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
		cr_skip_test("no leases on this file system");
	signal(SIGIO, SIG_IGN);
	cr_expect(eq(int, cache_blob_open(f.c, &s.spec.digest, BIG, NULL),
		     -ENOENT));
}

/* Read errors of the files of one cache, as a file system that asks a server
 * has them: this program's pread() is what the cache calls. */
static char *denied;

ssize_t pread64(int fd, void *buf, size_t n, off64_t off)
{
	char self[32], to[4096] = "";

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (denied && readlink(self, to, sizeof(to) - 1) > 0 &&
	    !strncmp(to, denied, strlen(denied))) {
		errno = EACCES;
		return -1;
	}
	return syscall(SYS_pread64, fd, buf, n, off);
}

static void deny(void)
{
	denied = realpath(cache_path(site.c), NULL);
	cr_assert(denied != NULL);
}

Test(alternate, what_may_not_be_read_is_not_there)
{
	struct content *ct = content_of(&f, &s);

	cr_assert(content_has(ct, 1));
	deny();
	cr_expect(eq(int, read_back(ct, &s, 1), -ENOENT), "to be fetched");
	cr_assert(eq(int, put_all(ct, &s), 0));
	cr_expect(eq(int, content_seal(ct, NULL), 0));
	cr_expect(eq(int, read_back(ct, &s, 1), 0));
	content_close(ct);
}

Test(alternate, what_may_not_be_hashed_is_not_there)
{
	cleanup_free char *theirs = blob_path(&site, &s.spec.digest);

	deny();
	cr_expect(eq(int, cache_blob_open(f.c, &s.spec.digest, BIG, NULL),
		     -ENOENT));
	cr_expect(eq(int, access(theirs, F_OK), 0));
}

Test(alternate, what_may_not_be_copied_is_not_there)
{
	cleanup_free char *theirs = blob_path(&site, &s.spec.digest);

	cr_assert(eq(int, chmod(theirs, 0666), 0)); /* not to be trusted */
	deny();
	cr_expect(eq(int, cache_blob_keep(f.c, &s.spec.digest, BIG), -ENOENT));
}

Test(alternate, what_may_not_be_read_is_not_linked_out)
{
	deny();
	cr_expect(eq(int, link_to(LINK_COPY, "a"), -ENOENT));
	cr_assert(eq(int, seal_all(&f, &s), 0));
	cr_expect(eq(int, link_to(LINK_COPY, "a"), LINK_COPY));
}
