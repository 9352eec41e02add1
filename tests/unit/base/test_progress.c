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

/* The last line that was shown when @done of @total bytes took a second. */
static char *after_a_second(uint64_t done, uint64_t total)
{
	cleanup_tmpdir char *dir = tmpdir_new();
	cleanup_free char *path = xasprintf("%s/stderr", dir);
	cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cleanup_fd int saved = dup(STDERR_FILENO);
	cleanup_free char *text = NULL;
	struct progress *p;
	size_t n;

	dup2(fd, STDERR_FILENO);
	p = progress_new("scanning", 1);
	progress_add(p, 7, 1u << 30);
	progress_phase(p, "sending", "blobs", 4, total + 1000);
	time_sleep_ms(600); /* let a sample be taken that has nothing */
	progress_less(p, 1000);
	progress_add(p, 1, done);
	time_sleep_ms(1200);
	progress_free(p);
	dup2(saved, STDERR_FILENO);
	cr_assert(eq(int, io_read_file(AT_FDCWD, path, 1 << 20, &text, &n), 0));
	text[n - 4] = '\0';
	return xstrdup(strrchr(text, '\r'));
}

Test(progress, says_the_rate_and_what_is_left)
{
	cleanup_free char *line = after_a_second(2000000, 3000000);
	unsigned left = 0;
	double rate = 0;

	/* However slow the machine: 2 MB in one second to some. */
	cr_assert(eq(int,
		     sscanf(line,
			    "\rsending: 1/4 blobs, 2.0 MB of 3.0 MB, %lf MB/s, "
			    "%us left",
			    &rate, &left),
		     2),
		  "%s", line);
	cr_expect(rate > 0.1 && rate < 2.1, "%s", line);
	cr_expect(left >= 1 && left < 10, "%s", line);
}

Test(progress, says_minutes_hours_and_days)
{
	cleanup_free char *m = after_a_second(2000000, 600000000),
			  *h = after_a_second(2000000, 60000000000),
			  *d = after_a_second(2000000, 60000000000000);
	unsigned a, b;

	cr_expect(eq(int, sscanf(strstr(m, "/s, "), "/s, %um%us left", &a, &b),
		     2),
		  "%s", m);
	cr_expect(eq(int, sscanf(strstr(h, "/s, "), "/s, %uh%um left", &a, &b),
		     2),
		  "%s", h);
	cr_expect(ne(ptr, strstr(d, "/s, days left"), NULL), "%s", d);
}

Test(progress, ends_at_once)
{
	int64_t start = time_mono_ns();
	cleanup_free char *text = shown(1, 0, 0);

	cr_assert(lt(i64, time_mono_ns() - start, 200 * NS_PER_MS));
	cr_assert(eq(str, text + strlen(text) - 4, "\r\033[K"));
}
