#include "fs/options.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"

static struct mount_options o;
static struct cli cli;
static struct error *err;
static char *text;

static int parse(const char *list)
{
	o = MOUNT_OPTIONS_DEFAULT;
	free(text);
	text = xstrdup(list);
	return mount_options_parse(text, &o, &cli, &err);
}

static void forget(void)
{
	free(cli.flags);
	free(text);
	error_free(err);
}

TestSuite(options, .fini = forget);

Test(options, has_defaults)
{
	cr_assert(eq(int, parse(""), 0));
	cr_expect(eq(int, o.io, IO_AUTO));
	cr_expect(not(o.allow_other));
	cr_expect(eq(uint, o.readahead_kb, 16384));
	cr_expect(eq(uint, o.fill_mb, 0));
	cr_expect(eq(uint, o.watchdog_s, 30));
}

Test(options, takes_our_own_words)
{
	cr_assert(eq(int,
		     parse("io=cached,allow_other,noexec,readahead_kb=128,"
			   "fill_mb=7,"
			   "watchdog=5,"
			   "stacked_cache,sandbox=off"),
		     0));
	cr_expect(eq(int, o.io, IO_CACHED));
	cr_expect(o.allow_other && o.noexec && o.stacked_cache);
	cr_expect(o.no_sandbox);
	cr_expect(eq(uint, o.readahead_kb, 128));
	cr_expect(eq(uint, o.fill_mb, 7));
	cr_expect(eq(uint, o.watchdog_s, 5));
}

Test(options, knows_what_to_fetch_unasked)
{
	cr_assert(eq(int, parse("prefetch=role"), 0));
	cr_expect(o.prefetch == PREFETCH_FILES && !o.prefetch_file);
	cr_assert(eq(int, parse("prefetch=list=/a=b"), 0));
	cr_expect(o.prefetch == PREFETCH_LIST);
	cr_expect(eq(str, (char *)o.prefetch_file, "/a=b"));
	cr_assert(eq(int, parse("prefetch=trace=t,record=r"), 0));
	cr_expect(o.prefetch == PREFETCH_TRACE);
	cr_expect(eq(str, (char *)o.prefetch_file, "t"));
	cr_expect(eq(str, (char *)o.record, "r"));
	cr_assert(eq(int, parse("prefetch=trace"), 0));
	cr_expect(o.prefetch == PREFETCH_ATTACHED && !o.prefetch_file);
	cr_assert(eq(int, parse("prefetch=trace=t,prefetch=none"), 0));
	cr_expect(o.prefetch == PREFETCH_NOTHING && !o.prefetch_file);
}

Test(options, takes_what_fstab_says_anyway)
{
	cr_expect(eq(int,
		     parse("ro,nosuid,nodev,noatime,_netdev,nofail,user,"
			   "x-systemd.automount,,defaults"),
		     0));
	cr_expect(eq(sz, cli.n_flags, 0));
}

Test(options, leaves_alone_what_mount8_says_anyway)
{
	o = MOUNT_OPTIONS_DEFAULT;
	o.by_mount8 = true;
	text = xstrdup("rw,suid,dev,exec,user=joe,X-mount.mkdir,comment=a b,"
		       "sync,lazytime,nofail");
	cr_assert(eq(int, mount_options_parse(text, &o, &cli, &err), 0));
	cr_expect(eq(sz, cli.n_flags, 0));
	free(text);
	text = xstrdup("remount");
	cr_expect(eq(int, mount_options_parse(text, &o, &cli, &err), -EINVAL));
}

Test(options, passes_over_unknown_words_when_sloppy)
{
	o = MOUNT_OPTIONS_DEFAULT;
	o.sloppy = true;
	text = xstrdup("nonsense,warp=9,role=training,io=cached");
	cr_assert(eq(int, mount_options_parse(text, &o, &cli, &err), 0));
	cr_assert(eq(sz, cli.n_flags, 1));
	cr_expect(eq(int, o.io, IO_CACHED));
	free(text);
	text = xstrdup("io=warp");
	cr_expect(eq(int, mount_options_parse(text, &o, &cli, &err), -EINVAL));
}

Test(options, takes_a_name_for_the_source)
{
	cr_assert(eq(int, parse("fsname=reg.example:5000/a/b@1.0"), 0));
	cr_expect(eq(str, (char *)o.fsname, "reg.example:5000/a/b@1.0"));
	for (const char **bad =
		     (const char *[]){"fsname", "fsname=", "fsname=a b",
				      "fsname=a\\b", "fsname=\xc3\xa4", NULL};
	     *bad; bad++) {
		cr_expect(eq(int, parse(*bad), -EINVAL), "%s", *bad);
		error_freep(&err);
	}
}

Test(options, hands_settings_on)
{
	cr_assert(eq(int, parse("role=training,io_timeout=5,offline"), 0));
	cr_assert(eq(sz, cli.n_flags, 3));
	cr_expect(eq(str, (char *)cli.flags[0].name, "role"));
	cr_expect(eq(str, (char *)cli.flags[0].value, "training"));
	cr_expect(eq(str, (char *)cli.flags[2].value, "true"));
}

Test(options, lets_a_flag_win_over_a_word)
{
	cli.flags = xmalloc(sizeof(*cli.flags));
	cli.flags[0] = (struct settings_flag){"role", "code"};
	cli.n_flags = 1;
	cr_assert(eq(int, parse("role=training"), 0));
	cr_assert(eq(sz, cli.n_flags, 1));
	cr_expect(eq(str, (char *)cli.flags[0].value, "code"));
}

Test(options, refuses_what_would_break_a_promise)
{
	static const char *const bad[] = {"rw", "suid", "dev"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cr_expect(eq(int, parse(bad[i]), -EINVAL));
		error_freep(&err);
	}
}

Test(options, refuses_what_it_does_not_know)
{
	static const char *const bad[] = {
		"frobnicate",      "io=fast",         "io",
		"readahead_kb=-1", "sandbox",         "sandbox=perhaps",
		"watchdog=soon",   "readahead_kb=1x", "readahead_kb=999999999",
		"allow_other=1",   "offline=1",       "role",
		"file_roots=/",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cr_expect(eq(int, parse(bad[i]), -EINVAL), "%s", bad[i]);
		error_freep(&err);
	}
}
