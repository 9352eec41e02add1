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
#include <sys/file.h>

#include "base/io.h"
#include "tests/lib/tmpdir.h"

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

TestSuite(link, .init = setup, .fini = teardown);

#define SIZE 300000

static struct source s;

/* A sealed blob of SIZE bytes. */
static void seal_one(void)
{
	source_init(&s, SIZE, 1);
	cr_assert(eq(int, seal_all(&f, &s), 0));
}

static struct link_request request(enum link_how how)
{
	return (struct link_request){
		.digest = &s.spec.digest,
		.size = SIZE,
		.how = how,
		.mode = 0644,
	};
}

static char *target(const char *name)
{
	return xasprintf("%s/%s", f.dir, name);
}

static int link_to(const struct link_request *rq, const char *name,
		   enum link_how *ret_done)
{
	cleanup_fd int dir = open(f.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	cr_assert(ge(int, dir, 0));
	return cache_link_out(f.c, rq, dir, name, ret_done, NULL);
}

/* What the file is: its mode, when its bytes are right. */
static int mode_if_right(const char *name)
{
	cleanup_free char *path = target(name);
	cleanup_free char *buf = NULL;
	struct stat st;
	size_t len = 0;

	if (lstat(path, &st) < 0)
		return -errno;
	if (io_read_file(AT_FDCWD, path, SIZE + 1, &buf, &len) < 0 ||
	    len != SIZE || memcmp(buf, s.data, SIZE) != 0)
		return -1000;
	return (int)(st.st_mode & 07777);
}

static unsigned long links_of_blob(void)
{
	cleanup_free char *path = blob_path(&f, &s.spec.digest);
	struct stat st;

	return stat(path, &st) < 0 ? 0 : (unsigned long)st.st_nlink;
}

Test(link, gives_a_file_with_the_right_bytes_every_way)
{
	static const enum link_how hows[] = {LINK_AUTO, LINK_REFLINK,
					     LINK_HARDLINK, LINK_SYMLINK,
					     LINK_COPY};

	seal_one();
	for (size_t i = 0; i < ARRAY_SIZE(hows); i++) {
		struct link_request rq = request(hows[i]);
		char name[] = {(char)('a' + i), '\0'};
		enum link_how done = LINK_AUTO;
		int mode;

		cr_assert(eq(int, link_to(&rq, name, &done), 0));
		mode = mode_if_right(name);
		if (done == LINK_HARDLINK)
			cr_expect(eq(int, mode, 0444));
		else if (done == LINK_SYMLINK)
			cr_expect(gt(int, mode, 0));
		else
			cr_expect(eq(int, mode, 0644));
		cr_expect(eq(int, link_to(&rq, name, &done), -EEXIST));
	}
}

Test(link, hardlinks_and_still_knows_the_blob)
{
	struct link_request rq = request(LINK_HARDLINK);
	cleanup_free char *path = NULL;
	enum link_how done;
	struct stat st;

	seal_one();
	path = blob_path(&f, &s.spec.digest);
	for (int i = 0; i < 3; i++) {
		char name[] = {(char)('a' + i), '\0'};

		cr_assert(eq(int, link_to(&rq, name, &done), 0));
		cr_expect(eq(int, (int)done, LINK_HARDLINK));
		cr_assert(eq(int, stat(path, &st), 0));
		cr_expect(statindex_matches(f.c, &s.spec.digest, &st),
			  "our own link is recorded");
	}
	cr_expect(eq(ulong, links_of_blob(), 4));
	cr_expect(eq(int,
		     cache_blob_open_passthrough(f.c, &s.spec.digest, SIZE),
		     -EAGAIN));
}

Test(link, does_not_hardlink_executables_writable_or_empty_files)
{
	struct link_request rq = request(LINK_HARDLINK);
	enum link_how done;
	struct stat st;
	cleanup_free char *path = target("c");

	seal_one();
	rq.executable = true;
	rq.mode = 0755;
	cr_assert(eq(int, link_to(&rq, "a", &done), 0));
	cr_expect(ne(int, (int)done, LINK_HARDLINK));
	cr_expect(eq(int, mode_if_right("a"), 0755));
	rq = request(LINK_AUTO);
	rq.writable = true;
	cr_assert(eq(int, link_to(&rq, "b", &done), 0));
	cr_expect(ne(int, (int)done, LINK_HARDLINK));
	cr_expect(eq(ulong, links_of_blob(), 1));

	cr_assert(eq(int, cache_doc_put(f.c, &DIGEST_EMPTY, "", 0, NULL), 0));
	rq = request(LINK_HARDLINK);
	rq.digest = &DIGEST_EMPTY;
	rq.size = 0;
	cr_assert(eq(int, link_to(&rq, "c", &done), 0));
	cr_expect(ne(int, (int)done, LINK_HARDLINK));
	cr_assert(eq(int, stat(path, &st), 0));
	cr_expect(eq(ulong, (unsigned long)st.st_nlink, 1));
}

Test(link, copies_while_a_mount_passes_the_blob_through)
{
	struct link_request rq = request(LINK_HARDLINK);
	enum link_how done;
	int fd;

	seal_one();
	fd = cache_blob_open_passthrough(f.c, &s.spec.digest, SIZE);
	cr_assert(ge(int, fd, 0));
	cr_assert(eq(int, link_to(&rq, "a", &done), 0));
	cr_expect(eq(int, (int)done, LINK_COPY));
	cr_expect(eq(ulong, links_of_blob(), 1));
	close(fd);
	cr_assert(eq(int, link_to(&rq, "b", &done), 0));
	cr_expect(eq(int, (int)done, LINK_HARDLINK));
}

Test(link, declines_passthrough_while_it_links)
{
	cleanup_free char *path = NULL;
	int fd;

	seal_one();
	path = blob_path(&f, &s.spec.digest);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert(eq(int, flock(fd, LOCK_EX | LOCK_NB), 0));
	cr_expect(eq(int,
		     cache_blob_open_passthrough(f.c, &s.spec.digest, SIZE),
		     -EAGAIN));
	close(fd);
}

Test(link, copies_where_locks_are_not_to_be_trusted)
{
	struct link_request rq = request(LINK_HARDLINK);
	enum link_how done;

	seal_one();
	f.c->locks_trusted = false;
	cr_assert(eq(int, link_to(&rq, "a", &done), 0));
	cr_expect(eq(int, (int)done, LINK_COPY));
	cr_expect(eq(int,
		     cache_blob_open_passthrough(f.c, &s.spec.digest, SIZE),
		     -EAGAIN));
}

Test(link, copies_to_another_file_system)
{
	struct link_request rq = request(LINK_HARDLINK);
	struct stat here, there;
	cleanup_free char *path = xstrdup("/dev/shm/mops-test-XXXXXX");
	cleanup_free char *file = NULL;
	enum link_how done;

	seal_one();
	if (!mkdtemp(path))
		cr_skip_test("no /dev/shm");
	cr_assert(eq(int, stat(path, &there), 0));
	cr_assert(eq(int, stat(f.dir, &here), 0));
	file = xasprintf("%s/x", path);
	if (here.st_dev != there.st_dev) {
		cr_expect(eq(int,
			     cache_link_out(f.c, &rq, AT_FDCWD, file, &done,
					    NULL),
			     0));
		cr_expect(eq(int, (int)done, LINK_COPY));
	}
	io_remove_tree(AT_FDCWD, path);
}

Test(link, copies_when_a_blob_has_as_many_links_as_it_can)
{
	struct link_request rq = request(LINK_HARDLINK);
	cleanup_free char *path = NULL;
	enum link_how done = LINK_AUTO;
	struct stat st;
	int i, fd;

	seal_one();
	path = blob_path(&f, &s.spec.digest);
	for (i = 0; i < 66000; i++) {
		char name[4200];

		snprintf(name, sizeof(name), "%s/%d", f.dir, i);
		if (link(path, name) < 0)
			break;
	}
	if (i == 66000)
		cr_skip_test("this file system has no such limit");
	cr_assert(eq(int, errno, EMLINK));
	fd = cache_blob_open(f.c, &s.spec.digest, SIZE, NULL);
	cr_assert(ge(int, fd, 0));
	close(fd);
	cr_assert(eq(int, link_to(&rq, "copy", &done), 0));
	cr_expect(eq(int, (int)done, LINK_COPY));
	cr_assert(eq(int, stat(path, &st), 0));
	cr_expect(statindex_matches(f.c, &s.spec.digest, &st));
}

static void finds_damage(enum link_how how)
{
	struct link_request rq = request(how);
	cleanup_free char *path = NULL;
	cleanup_free char *to = target("a");
	enum link_how done;

	seal_one();
	path = blob_path(&f, &s.spec.digest);
	flip_byte(path, 1234);
	cr_expect(eq(int, link_to(&rq, "a", &done), -ENOENT));
	cr_expect(eq(int, access(to, F_OK), -1), "no name is left");
	cr_expect(eq(u32, count_files(&f, "quarantine"), 1));
	cr_assert(eq(int, seal_all(&f, &s), 0), "healed by another fetch");
	cr_expect(eq(int, link_to(&rq, "a", &done), 0));
	cr_expect(gt(int, mode_if_right("a"), 0));
}

Test(link, finds_damage_before_it_hardlinks)
{
	finds_damage(LINK_HARDLINK);
}

Test(link, finds_damage_before_it_links_any_way)
{
	finds_damage(LINK_AUTO);
}

Test(link, finds_damage_before_it_symlinks)
{
	finds_damage(LINK_SYMLINK);
}

Test(link, finds_damage_while_it_copies)
{
	finds_damage(LINK_COPY);
}

Test(link, finds_damage_under_an_unchanged_stat_while_it_copies)
{
	struct link_request rq = request(LINK_COPY);
	cleanup_free char *path = NULL;
	enum link_how done;
	struct stat st;

	seal_one();
	path = blob_path(&f, &s.spec.digest);
	flip_byte(path, 1234);
	cr_assert(eq(int, stat(path, &st), 0));
	statindex_put(f.c, &s.spec.digest, &st,
		      time_wall_ns() + NS_PER_S); /* the medium decayed */
	cr_expect(eq(int, link_to(&rq, "a", &done), -ENOENT));
}

/* What a job does that owns the workdir and is careless. */
Test(link, finds_what_was_written_through_a_hardlink)
{
	struct link_request rq = request(LINK_HARDLINK);
	cleanup_free char *victim = target("a");
	enum link_how done;

	seal_one();
	cr_assert(eq(int, link_to(&rq, "a", &done), 0));
	cr_assert(eq(int, (int)done, LINK_HARDLINK));
	flip_byte(victim, 77);
	cr_expect(eq(int, link_to(&rq, "b", &done), -ENOENT));
	cr_expect(eq(int, cache_blob_open(f.c, &s.spec.digest, SIZE, NULL),
		     -ENOENT));
}
