#include "storage/staged.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "tests/lib/tmpdir.h"

static char *folder;
static int dirfd_;

static void setup(void)
{
	folder = tmpdir_new();
	dirfd_ = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void teardown(void)
{
	close(dirfd_);
	tmpdir_remove(folder);
}

TestSuite(staged, .init = setup, .fini = teardown);

static int entries(void)
{
	cleanup_dir DIR *dir = opendir(folder);
	struct dirent *e;
	int n = -2; /* "." and ".." */

	while ((e = readdir(dir)))
		n++;
	return n;
}

static int store(bool named, const char *name, const char *text, bool replace)
{
	cleanup_staged struct staged s = STAGED_INIT;
	struct digest d = digest_of_str(text);
	struct feed_mem feed;

	feed_mem_init(&feed, text, strlen(text));
	cr_assert(eq(int, staged_open(&s, dirfd_, named, NULL), 0));
	cr_assert(eq(int, staged_fill(&s, &feed.feed, NULL, NULL), 0));
	return staged_link(&s, name, &d, replace, NULL);
}

static void expect_content(const char *name, const char *text)
{
	cleanup_free char *buf = NULL;
	size_t len;

	cr_assert(eq(int, io_read_file(dirfd_, name, 100, &buf, &len), 0));
	cr_expect(eq(str, buf, (char *)text));
}

/* With O_TMPFILE, and as on a file system that has none. */
static void both(void (*fn)(bool named))
{
	fn(false);
	teardown();
	setup();
	fn(true);
}

static void gives_the_name(bool named)
{
	cr_expect(eq(int, store(named, "a", "text", false), 0));
	expect_content("a", "text");
	cr_expect(eq(int, entries(), 1), "and no other name stays");
}

Test(staged, gives_a_whole_file_its_name)
{
	both(gives_the_name);
}

static void leaves_nothing(bool named)
{
	struct staged s = STAGED_INIT;
	struct digest other = digest_of_str("other");
	struct feed_mem feed;

	feed_mem_init(&feed, "text", 4);
	cr_assert(eq(int, staged_open(&s, dirfd_, named, NULL), 0));
	cr_assert(eq(int, staged_fill(&s, &feed.feed, NULL, NULL), 0));
	cr_expect(eq(int, staged_link(&s, "a", &other, true, NULL), -EBADMSG));
	staged_release(&s);
	cr_expect(eq(int, entries(), 0));
}

Test(staged, leaves_nothing_of_a_file_that_is_not_what_was_wanted)
{
	both(leaves_nothing);
}

static void keeps_equal(bool named)
{
	struct stat a, b;

	cr_expect(eq(int, store(named, "a", "text", false), 0));
	cr_assert(eq(int, fstatat(dirfd_, "a", &a, 0), 0));
	cr_expect(eq(int, store(named, "a", "text", true), 0));
	cr_assert(eq(int, fstatat(dirfd_, "a", &b, 0), 0));
	cr_expect(eq(u64, a.st_ino, b.st_ino));
	cr_expect(eq(int, entries(), 1));
}

Test(staged, keeps_a_file_that_is_there_and_right)
{
	both(keeps_equal);
}

static void replaces(bool named)
{
	cr_expect(eq(int, store(named, "a", "text", false), 0));
	cr_expect(eq(int, store(named, "a", "TEXT", false), -EEXIST));
	expect_content("a", "text");
	cr_expect(eq(int, store(named, "a", "TEXT", true), 0));
	expect_content("a", "TEXT");
	cr_expect(eq(int, entries(), 1));
}

Test(staged, replaces_another_file_only_when_told)
{
	both(replaces);
}

Test(staged, does_not_follow_a_symlink_that_has_the_name)
{
	cr_assert(eq(int, symlinkat("/etc/hostname", dirfd_, "a"), 0));
	cr_expect(eq(int, store(false, "a", "text", false), -EEXIST));
	cr_expect(eq(int, store(false, "a", "text", true), 0));
	expect_content("a", "text");
}

Test(staged, removes_what_a_killed_process_left)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct staged s = STAGED_INIT;

		staged_open(&s, dirfd_, true, NULL);
		_exit(entries() == 1 ? 0 : 1);
	}
	cr_assert(eq(int, waitpid(pid, &status, 0), pid));
	cr_assert(eq(int, status, 0));
	cr_expect(eq(int, entries(), 1));
	cr_expect(eq(int, store(true, "a", "text", false), 0));
	cr_expect(eq(int, entries(), 1));
	expect_content("a", "text");
}

Test(staged, leaves_alone_what_another_writer_still_holds)
{
	cleanup_staged struct staged s = STAGED_INIT;
	struct digest d = digest_of_str("slow");
	struct feed_mem feed;

	feed_mem_init(&feed, "slow", 4);
	cr_assert(eq(int, staged_open(&s, dirfd_, true, NULL), 0));
	cr_assert(eq(int, staged_fill(&s, &feed.feed, NULL, NULL), 0));
	cr_expect(eq(int, store(true, "a", "text", false), 0));
	cr_expect(eq(int, staged_link(&s, "b", &d, false, NULL), 0));
	expect_content("b", "slow");
}
