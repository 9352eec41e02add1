#include "cli/output.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/redirect.h>
#include <errno.h>
#include <stdio.h>

#include "base/alloc.h"

static struct error *make_error(void)
{
	struct error *err = NULL;

	error_set(&err, EBADMSG, "2 damaged");
	error_hint(&err, -EBADMSG, "look");
	return err;
}

Test(output_error, is_one_line_and_its_advice_on_stderr,
     .init = cr_redirect_stderr)
{
	cleanup_error struct error *err = make_error();

	output_error("prog", false, err, NULL);
	fflush(stderr);
	cr_assert_stderr_eq_str("prog: 2 damaged\nlook\n");
}

Test(output_error, is_one_object_on_stdout_with_json,
     .init = cr_redirect_stdout)
{
	cleanup_error struct error *err = make_error();

	output_error("prog", true, err, NULL);
	cr_assert_stdout_eq_str("{\"error\":\"ValidationError\","
				"\"exit_code\":2,\"hint\":\"look\","
				"\"message\":\"2 damaged\"}\n");
}

Test(output_json, does_nothing_to_a_terminal, .init = cr_redirect_stdout)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;

	strbuf_adds(&doc, "{\"why\":\r\"\xc2\x9b[2J\"}");
	output_json(&doc);
	fflush(stdout);
	cr_assert_stdout_eq_str("{\"why\": \"\\u009b[2J\"}\n");
}

Test(output_error, carries_what_was_found_escaped, .init = cr_redirect_stdout)
{
	cleanup_error struct error *err = make_error();
	char one[] = "a: gone", two[] = "b\033[2J: wrong";
	char *details[] = {one, two, NULL};
	const struct error_more more = {details, "[{\"n\":1}]"};

	output_error("prog", true, err, &more);
	cr_assert_stdout_eq_str("{\"details\":[\"a: gone\","
				"\"b\\\\x1b[2J: wrong\"],"
				"\"error\":\"ValidationError\","
				"\"exit_code\":2,"
				"\"findings\":[{\"n\":1}],\"hint\":\"look\","
				"\"message\":\"2 damaged\"}\n");
}
