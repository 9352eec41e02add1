#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/alloc.h"
#include "storage/ini.h"

static struct ini *parse(const char *text)
{
	struct ini *ini = NULL;

	cr_assert(eq(int, ini_parse(text, strlen(text), &ini, NULL), 0));
	return ini;
}

static void check_value(const char *text, const char *section, const char *key,
			const char *sub, const char *want)
{
	cleanup_ini struct ini *ini = parse(text);
	const char *got = ini_get(ini, section, key, sub);

	if (!want)
		cr_expect(eq(ptr, (void *)got, NULL));
	else
		cr_expect(got && strcmp(got, want) == 0, "'%s', not '%s'", got,
			  want);
}

Test(ini, values_are_trimmed)
{
	check_value("[a]\nk =  v w \r\n", "a", "k", NULL, "v w");
	check_value("[a]\nk=v=w", "a", "k", NULL, "v=w");
	check_value("[a]\nk=\n", "a", "k", NULL, "");
}

Test(ini, sections_are_apart)
{
	const char *text = "k=0\n[ a ]\nk=1\n[profile   b]\nk=2\n[c\nk=3\n";

	check_value(text, "a", "k", NULL, "1");
	check_value(text, "profile b", "k", NULL, "3");
	check_value(text, "c", "k", NULL, NULL);
	check_value(text, "", "k", NULL, NULL);
}

Test(ini, comments_and_odd_lines_are_passed_over)
{
	check_value("[a]\n# k=1\n;k=2\nnothing\n  k=3\n", "a", "k", NULL, NULL);
	check_value("[a]\nk=v # w\n", "a", "k", NULL, "v # w");
}

Test(ini, indented_lines_belong_to_the_key_above)
{
	const char *text = "[a]\ns3 =\n  x = 1\n\ty=2\nk=3\n  z=4\n";

	check_value(text, "a", "s3", "x", "1");
	check_value(text, "a", "s3", "y", "2");
	check_value(text, "a", "s3", "z", NULL);
	check_value(text, "a", "x", NULL, NULL);
	check_value(text, "a", "k", NULL, "3");
}

Test(ini, the_last_line_counts)
{
	check_value("[a]\nk=1\n[b]\nk=2\n[a]\nk=3\n", "a", "k", NULL, "3");
}

Test(ini, what_is_not_text_is_refused)
{
	cleanup_error struct error *err = NULL;
	struct ini *ini = NULL;

	cr_expect(eq(int, ini_parse("[a]\nk=\0", 7, &ini, &err), -EINVAL));
	cr_expect(eq(ptr, ini, NULL));
}

Test(ini, nothing_holds_nothing)
{
	cr_expect(eq(ptr, (void *)ini_get(NULL, "a", "k", NULL), NULL));
	check_value("", "a", "k", NULL, NULL);
}
