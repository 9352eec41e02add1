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

/* A progress, and what it says on stderr. */
struct watched {
	char *dir, *path;
	int fd, saved;
	struct progress *p;
};

static void watch(struct watched *w, const char *verb, int show)
{
	w->dir = tmpdir_new();
	w->path = xasprintf("%s/stderr", w->dir);
	w->fd = open(w->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	w->saved = dup(STDERR_FILENO);
	dup2(w->fd, STDERR_FILENO);
	w->p = progress_new(verb, show);
}

static char *said(const struct watched *w)
{
	char *text = NULL;
	size_t n;

	cr_assert(eq(int, io_read_file(AT_FDCWD, w->path, 1 << 20, &text, &n),
		     0));
	return text;
}

/* All that was said, to the end. */
static char *end(struct watched *w)
{
	char *text;

	progress_free(w->p);
	dup2(w->saved, STDERR_FILENO);
	text = said(w);
	close(w->fd);
	close(w->saved);
	free(w->path);
	tmpdir_remove(w->dir);
	return text;
}

/* The rest of the first line that has @what, up to the next; NULL: none had it
 * in half a minute. */
static char *wait_for(const struct watched *w, const char *what)
{
	int64_t until = time_deadline_ms(30000);

	do {
		cleanup_free char *text = said(w);
		char *found = strstr(text, what);

		if (found && strchr(found, '\033'))
			return xstrndup(found, strcspn(found, "\033"));
		time_sleep_ms(10);
	} while (time_mono_ns() < until);
	return NULL;
}

Test(progress, null_does_nothing)
{
	progress_total(NULL, 1, 1);
	progress_add(NULL, 1, 1);
	progress_phase(NULL, "sending", "blobs", 1, 1);
	progress_less(NULL, 1);
	progress_free(NULL);
}

Test(progress, counts_without_showing)
{
	cleanup_free char *text = NULL;
	struct watched w;

	watch(&w, "pushing", 0);
	progress_total(w.p, 10, 5);
	progress_add(w.p, 3, 1500000);
	text = end(&w);
	cr_assert(eq(str, text, ""));
}

Test(progress, shows_and_erases_its_line)
{
	cleanup_free char *line = NULL, *text = NULL;
	struct watched w;

	watch(&w, "pushing", 1);
	progress_total(w.p, 10, 3000000);
	progress_add(w.p, 3, 1500000);
	line = wait_for(&w, "\rpushing: 3/10 files, 1.5 MB of 3.0 MB");
	text = end(&w);
	cr_expect(ne(ptr, line, NULL), "%s", text);
	cr_assert(eq(str, text + strlen(text) - 4, "\r\033[K"));
	cr_assert(eq(ptr, strchr(text, '\n'), NULL));
}

/* @done of @total bytes, once a sample was taken that has nothing. */
static void send_some(struct watched *w, uint64_t done, uint64_t total)
{
	cleanup_free char *line = NULL;

	watch(w, "scanning", 1);
	progress_add(w->p, 7, 1u << 30);
	progress_phase(w->p, "sending", "blobs", 4, total + 1000);
	line = wait_for(w, "\rsending: 0/4 blobs");
	cr_assert(ne(ptr, line, NULL));
	progress_less(w->p, 1000);
	progress_add(w->p, 1, done);
}

static double bytes_of(double n, const char *unit)
{
	return n * (unit[0] == 'M' ? 1e6 : unit[0] == 'k' ? 1e3 : 1);
}

Test(progress, says_the_rate_and_what_is_left)
{
	cleanup_free char *line = NULL, *text = NULL;
	int64_t begin = time_mono_ns();
	double rate = 0, least;
	unsigned left = 0;
	char unit[4] = "";
	struct watched w;

	send_some(&w, 2000000, 3000000);
	line = wait_for(&w, "2.0 MB of 3.0 MB, ");
	/* However slow the machine: at least a second, at most so long. */
	least = 2e6 / ((double)(time_mono_ns() - begin) / NS_PER_S);
	text = end(&w);
	cr_assert(ne(ptr, line, NULL), "%s", text);
	cr_assert(eq(int,
		     sscanf(line, "2.0 MB of 3.0 MB, %lf %3[^/]/s, %us left",
			    &rate, unit, &left),
		     3),
		  "%s", line);
	rate = bytes_of(rate, unit);
	cr_expect(rate > least * 0.9 && rate < 2.1e6, "%s, %f", line, least);
	cr_expect(left >= 1e6 / rate * 0.9 && left <= 1e6 / rate * 1.1 + 1,
		  "%s", line);
}

Test(progress, says_minutes_hours_and_days)
{
	cleanup_free char *m = NULL, *h = NULL, *d = NULL, *text = NULL;
	unsigned a, b;
	struct watched w;

	/* At up to 2 MB/s, and down to a thirtieth of that. */
	send_some(&w, 2000000, 200000000);
	m = wait_for(&w, "/s, ");
	progress_total(w.p, 4, 20000000000);
	h = wait_for(&w, "h");
	progress_total(w.p, 4, 60000000000000);
	d = wait_for(&w, "/s, days left");
	text = end(&w);
	cr_assert(m && h && d, "%s", text);
	cr_expect(eq(int, sscanf(m, "/s, %um%us left", &a, &b), 2), "%s", text);
	cr_expect(eq(int, sscanf(h, "h%um left", &a), 1), "%s", text);
}

/* Of ten times at least once: the machine may be busy. */
Test(progress, ends_at_once)
{
	int64_t least = INT64_MAX;

	for (int i = 0; i < 10; i++) {
		cleanup_free char *text = NULL;
		struct watched w;
		int64_t begin;

		watch(&w, "pushing", 1);
		begin = time_mono_ns();
		text = end(&w);
		least = MIN(least, time_mono_ns() - begin);
		cr_assert(eq(str, text + strlen(text) - 4, "\r\033[K"));
	}
	cr_assert(lt(i64, least, 200 * NS_PER_MS));
}
