#include "base/progress.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/time.h"
#include "tests/lib/tmpdir.h"

/* What a progress that was shown for @ms wrote to stderr. */
static char *shown(int show, int64_t ms, uint64_t total)
{
	cleanup_tmpdir char *dir = tmpdir_new();
	cleanup_free char *path = xasprintf("%s/stderr", dir);
	cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cleanup_fd int saved = dup(STDERR_FILENO);
	struct progress *p;
	char *text = NULL;
	size_t n;

	dup2(fd, STDERR_FILENO);
	p = progress_new("pushing", show);
	progress_total(p, 10, total);
	progress_add(p, 3, 1500000);
	time_sleep_ms(ms);
	progress_free(p);
	dup2(saved, STDERR_FILENO);
	cr_assert(eq(int, io_read_file(AT_FDCWD, path, 1 << 20, &text, &n), 0));
	return text;
}

Test(progress, null_does_nothing)
{
	uint64_t files = 9, bytes = 9;

	progress_total(NULL, 1, 1);
	progress_add(NULL, 1, 1);
	progress_counts(NULL, &files, &bytes);
	cr_assert(eq(u64, files, 0));
	cr_assert(eq(u64, bytes, 0));
	progress_free(NULL);
}

Test(progress, counts_without_showing)
{
	cleanup_free char *text = shown(0, 0, 5);

	cr_assert(eq(str, text, ""));
}

Test(progress, shows_and_erases_its_line)
{
	cleanup_free char *text = shown(1, 400, 3000000);
	size_t n = strlen(text);

	cr_assert(ne(ptr,
		     strstr(text, "\rpushing: 3/10 files, 1.5 MB of 3.0 MB"),
		     NULL),
		  "%s", text);
	cr_assert(eq(str, text + n - 4, "\r\033[K"));
	cr_assert(eq(ptr, strchr(text, '\n'), NULL));
}

Test(progress, ends_at_once)
{
	int64_t start = time_mono_ns();
	cleanup_free char *text = shown(1, 0, 0);

	cr_assert(lt(i64, time_mono_ns() - start, 200 * NS_PER_MS));
	cr_assert(eq(str, text + strlen(text) - 4, "\r\033[K"));
}
