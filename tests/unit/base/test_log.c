#include "base/log.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/redirect.h>
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "tests/lib/tmpdir.h"

static char *dir;
static char *path;

static void set_up(void)
{
	dir = tmpdir_new();
	path = xasprintf("%s/log", dir);
}

static void tear_down(void)
{
	free(path);
	tmpdir_remove(dir);
}

TestSuite(log, .init = set_up, .fini = tear_down);

static char *read_log(void)
{
	char *text = NULL;
	size_t n;

	cr_assert(eq(int, io_read_file(AT_FDCWD, path, 1 << 20, &text, &n), 0));
	return text;
}

static bool matches(const char *text, const char *pattern)
{
	regex_t re;
	bool ok;

	cr_assert(eq(int, regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0));
	ok = regexec(&re, text, 0, NULL, 0) == 0;
	regfree(&re);
	return ok;
}

Test(log, warns_and_errs_by_default)
{
	cleanup_free char *text = NULL;

	cr_assert(eq(int, log_get_level(), LOG_LEVEL_WARN));
	cr_assert(eq(int, log_open(path, NULL), 0));
	log_debug("no");
	log_info("no");
	log_warn("slow");
	log_error("bad");
	text = read_log();
	cr_assert(matches(text, "^[^\n]*warning: slow\n[^\n]*Z bad\n$"));
}

Test(log, a_file_line_has_time_name_and_process)
{
	cleanup_free char *text = NULL;
	struct stat st;

	umask(0);
	log_set_name("mopsfs");
	log_set_level(LOG_LEVEL_TRACE);
	cr_assert(eq(int, log_open(path, NULL), 0));
	log_line(LOG_LEVEL_TRACE, "read %d", 7);
	text = read_log();
	cr_assert(matches(text, "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\\."
				"[0-9]{3}Z mopsfs\\[[0-9]+\\]: "
				"trace: read 7\n$"),
		  "%s", text);
	cr_assert(eq(int, stat(path, &st), 0));
	cr_assert(eq(u32, st.st_mode & 07777, 0640));
}

Test(log, appends_and_escapes)
{
	cleanup_free char *text = NULL;

	cr_assert(eq(int,
		     io_write_file_atomic(AT_FDCWD, path, "old\n", 4, 0600),
		     0));
	cr_assert(eq(int, log_open(path, NULL), 0));
	log_error("name '%s'", "a\nfake\033");
	text = read_log();
	cr_assert(matches(text, "^old\n[^\n]*name 'a\\\\x0afake\\\\x1b'\n$"));
}

Test(log, keeps_errno)
{
	/* A log that cannot be written to. */
	cr_assert(eq(int, log_open("/dev/full", NULL), 0));
	errno = ENOTDIR;
	log_error("x");
	cr_assert(eq(int, errno, ENOTDIR));
}

Test(log, a_target_that_cannot_be_opened_leaves_the_old_one)
{
	cleanup_error struct error *err = NULL;
	cleanup_free char *text = NULL;

	cr_assert(eq(int, log_open(path, NULL), 0));
	cr_assert(eq(int, log_open("/nowhere/log", &err), -ENOENT));
	cr_assert(ne(ptr, strstr(err->message, "/nowhere/log"), NULL));
	log_error("still here");
	text = read_log();
	cr_assert(ne(ptr, strstr(text, "still here"), NULL));
}

Test(log, goes_to_stderr_with_the_name_in_front, .init = cr_redirect_stderr)
{
	log_set_name("mops");
	cr_assert(eq(int, log_open(NULL, NULL), 0));
	log_error("pulling '%s': no", "a");
	cr_assert_stderr_eq_str("mops: pulling 'a': no\n");
}

Test(log, syslog_and_journal_can_always_be_opened)
{
	cr_assert(eq(int, log_open("syslog", NULL), 0));
	log_error("test line of the mops unit tests");
	cr_assert(eq(int, log_open("journal", NULL), 0));
	log_error("test line of the mops unit tests");
	cr_assert(eq(int, log_open("stderr", NULL), 0));
}
