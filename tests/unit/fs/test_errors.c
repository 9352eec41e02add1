#include "fs/errors.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/log.h"
#include "tests/lib/tmpdir.h"

static struct fs_errors e;
static atomic_uint_fast64_t counts[SITE_END];
static char *dir, *log_path;

static void set_up(void)
{
	dir = tmpdir_new();
	log_path = xasprintf("%s/log", dir);
	log_open(log_path, NULL);
	fs_errors_init(&e, counts);
}

static void forget(void)
{
	free(log_path);
	tmpdir_remove(dir);
}

static int lines_logged(void)
{
	cleanup_free char *text = NULL;
	size_t n;
	int lines = 0;

	cr_assert(eq(int, io_read_file(AT_FDCWD, log_path, 1 << 20, &text, &n),
		     0));
	for (const char *p = text; (p = strchr(p, '\n')); p++)
		lines++;
	return lines;
}

TestSuite(fs_errors, .init = set_up, .fini = forget);

Test(fs_errors, gives_each_site_its_number_and_errno)
{
	for (int s = 1; s < SITE_END; s++) {
		cr_expect(ne(ptr, (void *)fs_site_info(s)->name, NULL));
		cr_expect(fs_site_info(s)->code == EIO || s == SITE_DENIED ||
			  s == SITE_DRIFT || s == SITE_MEMORY ||
			  s == SITE_FILES);
	}
	cr_expect(eq(int, SITE_FETCH, 5), "documented numbers stay");
	cr_expect(eq(int, fs_errors_report(&e, SITE_DENIED, 2, "x", NULL),
		     EACCES));
	cr_expect(eq(int, fs_errors_report(&e, SITE_DRIFT, 2, "x", NULL),
		     ESTALE));
}

Test(fs_errors, tells_remote_refusals_from_local_ones)
{
	cr_expect(eq(int, fs_site_of(EACCES, false), SITE_DENIED));
	cr_expect(eq(int, fs_site_of(EACCES, true), SITE_LOCAL));
	cr_expect(eq(int, fs_site_of(EBADMSG, false), SITE_VERIFY));
	cr_expect(eq(int, fs_site_of(ETIMEDOUT, false), SITE_TIMEOUT));
	cr_expect(eq(int, fs_site_of(ESTALE, false), SITE_DRIFT));
	cr_expect(eq(int, fs_site_of(EMFILE, true), SITE_FILES));
	cr_expect(eq(int, fs_site_of(ECONNREFUSED, false), SITE_FETCH));
}

Test(fs_errors, counts_all_and_logs_once_a_minute)
{
	for (int i = 0; i < 1000; i++)
		fs_errors_report(&e, SITE_FETCH, 2, "'sha256:x' of 'a'",
				 "no route");
	cr_expect(eq(u64, fs_errors_count(&e, SITE_FETCH), 1000));
	cr_expect(eq(int, lines_logged(), 1));
	fs_errors_report(&e, SITE_VERIFY, 2, "'sha256:x' of 'a'", NULL);
	cr_expect(eq(int, lines_logged(), 2), "another site has its own line");
}

Test(fs_errors, remembers_the_last_failure_of_an_inode)
{
	cleanup_strbuf struct strbuf text = STRBUF_INIT;

	cr_expect(not(fs_errors_last(&e, 7, &text)));
	fs_errors_report(&e, SITE_FETCH, 7, "'sha256:x' of 'a'", "no route");
	cr_assert(fs_errors_last(&e, 7, &text));
	cr_expect(ne(ptr, strstr(text.buf, "site 5 (fetch)"), NULL));
	cr_expect(ne(ptr, strstr(text.buf, "no route"), NULL));
	fs_errors_clear(&e, 7);
	strbuf_reset(&text);
	cr_expect(not(fs_errors_last(&e, 7, &text)));
}

Test(fs_errors, remembers_no_more_than_it_has_room_for)
{
	cleanup_strbuf struct strbuf text = STRBUF_INIT;

	for (uint64_t i = 1; i <= FS_FAILURES + 1; i++)
		fs_errors_report(&e, SITE_FETCH, i, "x", NULL);
	cr_expect(not(fs_errors_last(&e, 1, &text)));
	cr_expect(fs_errors_last(&e, FS_FAILURES + 1, &text));
}
