#include "cli/checks.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/redirect.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"

static void find_some(struct checks *k)
{
	cleanup_error struct error *err = NULL;

	check_ok(k, "a", "%d\033", 1);
	check_bad(k, CHECK_NOTE, "b", "buy", "slow");
	error_set(&err, EINVAL, "wrong");
	check_error(k, "c.d", err, "unused without this");
	check_bad(k, CHECK_FAILED, "e", "mend", "broken");
}

Test(checks, are_a_line_each, .init = cr_redirect_stdout)
{
	cleanup_checks struct checks k = {0};

	find_some(&k);
	checks_print(&k, false);
	fflush(stdout);
	cr_assert_stdout_eq_str(
		"ok       a                 1\\x1b\n"
		"note     b                 slow; mend: buy\n"
		"failed   c.d               wrong; mend: unused without this\n"
		"failed   e                 broken; mend: mend\n");
}

Test(checks, are_those_that_are_not_well_when_quiet, .init = cr_redirect_stdout)
{
	cleanup_checks struct checks k = {0};

	check_ok(&k, "a", "fine");
	check_bad(&k, CHECK_WARNING, "b", "hurry", "soon");
	checks_print(&k, true);
	fflush(stdout);
	cr_assert_stdout_eq_str(
		"warning  b                 soon; mend: hurry\n");
}

Test(checks, end_with_the_first_that_failed)
{
	cleanup_checks struct checks k = {0};

	cr_expect(eq(int, checks_exit_status(&k), 0));
	check_bad(&k, CHECK_WARNING, "w", "r", "d");
	cr_expect(eq(int, checks_exit_status(&k), 0));
	find_some(&k);
	cr_expect(eq(int, checks_exit_status(&k), 2));
	cr_expect(eq(sz, checks_count(&k, CHECK_FAILED), 2));
}

Test(checks, take_an_errors_own_advice)
{
	cleanup_checks struct checks k = {0};
	cleanup_error struct error *err = NULL;

	error_set(&err, EIO, "wrong");
	error_hint(&err, -EIO, "do this");
	check_error(&k, "a", err, "do that");
	cr_expect(eq(str, k.v[0].remedy, "do this"));
	cr_expect(eq(int, k.v[0].exit_status, 3));
}

static int take(const char *text, struct checks *k)
{
	cleanup_json struct json *j = NULL;

	cr_assert(eq(int,
		     json_parse(text, strlen(text), &JSON_LIMITS_DOC, &j, NULL),
		     0));
	return checks_take(k, j, NULL);
}

Test(checks, of_another_program_are_taken_as_it_wrote_them)
{
	cleanup_checks struct checks k = {0}, again = {0};
	cleanup_strbuf struct strbuf a = STRBUF_INIT, b = STRBUF_INIT;
	cleanup_json struct json *j = NULL;
	struct json_writer w;

	find_some(&k);
	json_writer_init(&w, &a);
	json_begin_object(&w, NULL);
	checks_put(&k, &w);
	json_end_object(&w);
	cr_assert(eq(int, json_parse(a.buf, a.len, &JSON_LIMITS_DOC, &j, NULL),
		     0));
	cr_assert(eq(int, checks_take(&again, json_get(j, "checks"), NULL), 0));
	cr_expect(eq(sz, again.n, 4));
	cr_expect(eq(int, checks_exit_status(&again), 2));
	json_writer_init(&w, &b);
	json_begin_object(&w, NULL);
	checks_put(&again, &w);
	json_end_object(&w);
	/* But what was escaped is escaped again. */
	cr_expect(eq(str, again.v[0].detail, "1\\x1b"));
	cr_expect(eq(sz, b.len, a.len + 2));
}

Test(checks, that_make_no_sense_are_refused)
{
	static const char *const wrong[] = {
		"[{\"check\":\"a\",\"detail\":\"b\"}]",
		"[{\"check\":\"a\",\"detail\":\"b\",\"state\":\"good\"}]",
		"[{\"check\":\"a\",\"detail\":\"b\",\"state\":\"note\"}]",
		"[{\"check\":\"a\",\"detail\":\"b\",\"remedy\":\"c\",\"state\":"
		"\"ok\"}]",
		"[{\"check\":\"a\",\"detail\":\"b\",\"remedy\":\"c\",\"state\":"
		"\"failed\"}]",
		"[{\"check\":\"a\",\"detail\":\"b\",\"exit_code\":256,"
		"\"remedy\":\"c\",\"state\":\"failed\"}]",
		"[1]",
	};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		cleanup_checks struct checks k = {0};

		cr_expect(eq(int, take(wrong[i], &k), -EINVAL), "%s", wrong[i]);
		cr_expect(eq(sz, k.n, 0));
	}
}
