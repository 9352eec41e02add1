#include "cli/args.h"
#include "cli/nearest.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdarg.h>

#include "base/alloc.h"

static int run_nothing(struct cli *cli, struct error **errp)
{
	return 0;
}

static const struct arg_option mount_options[] = {
	{"options", 'o', "LIST", true, "mount options"},
	{"foreground", 'f', NULL, false, "stay"},
	{"log", 0, "FILE", false, "log here"},
	{NULL},
};

static const struct verb verbs[] = {
	{"mount", "REF DIR", "mount a bundle", 2, 2, mount_options,
	 run_nothing},
	{"version", "", "print the version", 0, 0, NULL, run_nothing},
	{"help", "[COMMAND]", "print help", 0, 1, NULL, NULL},
	{NULL},
};

static const struct program program = {"prog", "does things", verbs};

static struct cli cli;
static struct error *err;

/* Parse "prog" and the given words, the last of which is NULL. */
static int parse(const char *first, ...)
{
	char *argv[16] = {"prog", (char *)first};
	int argc = first ? 2 : 1;
	va_list ap;

	va_start(ap, first);
	while (first && (argv[argc] = va_arg(ap, char *)))
		argc++;
	va_end(ap);
	return args_parse(&program, argc, argv, &cli, &err);
}

static void forget(void)
{
	cli_release(&cli);
	error_freep(&err);
}

TestSuite(args, .fini = forget);

Test(args, takes_a_value_behind_a_space_or_an_equals_sign)
{
	cr_assert(eq(int,
		     parse("mount", "--log", "a", "r", "--io-timeout=5", "d",
			   NULL),
		     0));
	cr_expect(eq(str, (char *)cli_value(&cli, "log"), "a"));
	cr_assert(eq(sz, cli.n_flags, 1));
	cr_expect(eq(str, (char *)cli.flags[0].name, "io_timeout"));
	cr_expect(eq(str, (char *)cli.flags[0].value, "5"));
	cr_assert(eq(uint, cli.n_args, 2));
	cr_expect(eq(str, (char *)cli.args[0], "r"));
	cr_expect(eq(str, (char *)cli.args[1], "d"));
}

Test(args, joins_short_flags_and_repeats_those_that_may)
{
	cr_assert(eq(int,
		     parse("mount", "-fvv", "-oro", "-o", "io=auto", "r", "d",
			   NULL),
		     0));
	cr_expect(cli_has(&cli, "foreground"));
	cr_expect(eq(uint, cli.verbose, 2));
	cr_expect(eq(str, (char *)cli_value_at(&cli, "options", 0), "ro"));
	cr_expect(eq(str, (char *)cli_value_at(&cli, "options", 1), "io=auto"));
	cr_expect(eq(ptr, (void *)cli_value_at(&cli, "options", 2), NULL));
}

Test(args, takes_everything_behind_two_dashes_as_arguments)
{
	cr_assert(eq(int, parse("mount", "--", "--log", "-f", NULL), 0));
	cr_assert(eq(uint, cli.n_args, 2));
	cr_expect(eq(str, (char *)cli.args[0], "--log"));
	cr_expect(not(cli_has(&cli, "foreground")));
}

Test(args, refuses_what_no_table_holds_and_says_where_help_is)
{
	cr_assert(eq(int, parse("mount", "--nope", "r", "d", NULL), -EINVAL));
	cr_expect(eq(int, err->kind, ERROR_VALIDATION));
	cr_expect(eq(str, err->message, "there is no flag '--nope'"));
	cr_expect(eq(str, err->hint, "see 'prog help mount'"));
}

Test(args, refuses_a_setting_that_has_no_flag)
{
	cr_expect(eq(int, parse("version", "--file-roots=/", NULL), -EINVAL));
}

Test(args, refuses_an_unknown_command)
{
	cr_assert(eq(int, parse("frobnicate", NULL), -EINVAL));
	cr_expect(eq(str, err->message, "there is no command 'frobnicate'"));
}

static void expect_near(const char *typed, const char *want)
{
	const struct verb *v = nearest_verb(&program, typed);

	cr_expect(eq(str, (char *)(v ? v->name : "none"), (char *)want), "%s",
		  typed);
}

Test(args, knows_what_was_meant)
{
	cr_assert(eq(int, parse("mont", NULL), -EINVAL));
	cr_expect(ne(ptr, strstr(err->hint, "did you mean 'mount'?"), NULL));
	expect_near("mounts", "mount");
	expect_near("muont", "mount");
	expect_near("moumt", "mount");
	expect_near("mutn", "mount");
	expect_near("mtn", "none");
	expect_near("", "none");
	expect_near("m", "none");
	expect_near("frobnicate", "none");
	expect_near("mount-mount-mount-mount-mount-mount", "none");
}

Test(args, counts_slips)
{
	cr_expect(eq(uint, name_distance("pull", "pull"), 0));
	cr_expect(eq(uint, name_distance("pul", "pull"), 1));
	cr_expect(eq(uint, name_distance("plul", "pull"), 1));
	cr_expect(eq(uint, name_distance("push", "pull"), 2));
	cr_expect(eq(uint, name_distance("", "pull"), 4));
}

Test(args, refuses_no_command)
{
	cr_expect(eq(int, parse(NULL), -EINVAL));
}

Test(args, refuses_a_flag_twice)
{
	cr_assert(eq(int, parse("mount", "--log=a", "--log=b", "r", "d", NULL),
		     -EINVAL));
	cr_expect(eq(str, err->message, "'--log' is given twice"));
}

Test(args, refuses_a_setting_twice_by_its_flag_name)
{
	cr_assert(eq(int,
		     parse("version", "--io-timeout=1", "--io-timeout=2", NULL),
		     -EINVAL));
	cr_expect(eq(str, err->message, "'--io-timeout' is given twice"));
}

Test(args, refuses_a_value_for_a_switch_and_a_flag_without_its_value)
{
	cr_expect(eq(int, parse("version", "--offline=yes", NULL), -EINVAL));
	forget();
	cr_expect(eq(int, parse("mount", "r", "d", "--log", NULL), -EINVAL));
	forget();
	cr_expect(eq(int, parse("mount", "r", "d", "-o", NULL), -EINVAL));
}

Test(args, counts_arguments)
{
	cr_assert(eq(int, parse("mount", "r", NULL), -EINVAL));
	cr_expect(
		eq(str, err->message, "'mount' needs more arguments: REF DIR"));
	forget();
	cr_assert(eq(int, parse("mount", "r", "d", "x", NULL), -EINVAL));
	cr_expect(eq(str, err->message, "'mount' does not take 'x'"));
}

Test(args, asks_for_help_without_its_arguments)
{
	cr_assert(eq(int, parse("mount", "--help", NULL), 0));
	cr_expect(cli.want_help);
	forget();
	cr_assert(eq(int, parse("--help", NULL), 0));
	cr_expect(cli.want_help);
	cr_expect(eq(ptr, (void *)cli.verb, NULL));
}

Test(args, knows_that_json_is_wanted_even_when_parsing_fails)
{
	cr_expect(eq(int, parse("mount", "--nope", "--json", NULL), -EINVAL));
	cr_expect(cli.json);
}

Test(args, prints_each_option_of_a_verb_in_its_help)
{
	cleanup_free char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	args_help_verb(f, &program, &verbs[0]);
	fclose(f);
	cr_expect(ne(ptr, strstr(text, "usage: prog mount [FLAG]... REF DIR"),
		     NULL));
	cr_expect(ne(ptr, strstr(text, "  -o, --options LIST"), NULL));
	cr_expect(ne(ptr, strstr(text, "      --io-timeout VALUE"), NULL));
	cr_expect(ne(ptr, strstr(text, "      --offline "), NULL));
	cr_expect(eq(ptr, strstr(text, "file-roots"), NULL));
	cr_expect(ne(ptr, strstr(text, "  -v, --verbose"), NULL));
}

Test(args, reads_no_command_where_there_is_but_one)
{
	static const struct verb only[] = {
		{"", "REF DIR", "mount a bundle", 2, 2, mount_options,
		 run_nothing},
		{NULL},
	};
	static const struct program one = {"mount.x", "mounts", only};
	char *argv[] = {"mount.x", "ref", "dir", "-fo", "ro", NULL};

	cr_assert(eq(int, args_parse(&one, 5, argv, &cli, &err), 0));
	cr_expect(eq(ptr, (void *)cli.verb, (void *)only));
	cr_expect(eq(str, (char *)cli.args[1], "dir"));
	cr_expect(cli_has(&cli, "foreground"));
	cli_release(&cli);
	cr_assert(eq(int, args_parse(&one, 2, argv, &cli, &err), -EINVAL));
	cr_expect(eq(str, err->hint, "see 'mount.x --help'"));
}
