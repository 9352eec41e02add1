#include "fs/mountinfo.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "tests/lib/tmpdir.h"

static struct mount_list list;

static void parse(const char *text)
{
	cleanup_free char *copy = xstrdup(text);

	mount_list_parse(copy, &list);
}

static void forget(void)
{
	mount_list_release(&list);
}

TestSuite(mountinfo, .fini = forget);

Test(mountinfo, reads_the_fields_with_and_without_tags)
{
	parse("36 35 98:0 /a /mnt rw,noatime - ext4 /dev/sda1 rw\n"
	      "40 35 0:47 / /m ro,nosuid,nodev master:1 shared:7 - "
	      "fuse.mopsfs epi-sir:1.0 ro,user_id=0,default_permissions\n");
	cr_assert(eq(sz, list.n, 2));
	cr_expect(eq(int, list.e[1].id, 40));
	cr_expect(eq(uint, list.e[1].major, 0));
	cr_expect(eq(uint, list.e[1].minor, 47));
	cr_expect(eq(str, list.e[1].dir, "/m"));
	cr_expect(eq(str, list.e[1].options, "ro,nosuid,nodev"));
	cr_expect(eq(str, list.e[1].type, "fuse.mopsfs"));
	cr_expect(eq(str, list.e[1].source, "epi-sir:1.0"));
	cr_expect(mount_option_has(list.e[1].super, "default_permissions"));
	cr_expect(mount_entry_is_ours(&list.e[1]));
	cr_expect(not(mount_entry_is_ours(&list.e[0])));
}

Test(mountinfo, gives_escaped_bytes_back)
{
	parse("40 35 0:47 / /a\\040b\\134\\011c ro - fuse.mopsfs x ro\n");
	cr_assert(eq(sz, list.n, 1));
	cr_expect(eq(str, list.e[0].dir, "/a b\\\tc"));
}

Test(mountinfo, finds_what_is_on_top)
{
	parse("1 0 0:1 / /m rw - ext4 a rw\n"
	      "2 1 0:2 / /m ro - fuse.mopsfs b ro\n"
	      "3 1 0:3 / /mm ro - ext4 c ro\n");
	cr_assert(ne(ptr, (void *)mount_list_top(&list, "/m"), NULL));
	cr_expect(eq(int, mount_list_top(&list, "/m")->id, 2));
	cr_expect(eq(ptr, (void *)mount_list_top(&list, "/"), NULL));
}

Test(mountinfo, skips_lines_that_break_the_format)
{
	parse("nonsense\n"
	      "1 0 0:1 / /m rw master:1 ext4 a rw\n"
	      "1 0 0x1 / /m rw - ext4 a rw\n"
	      "\n"
	      "2 1 0:2 / /m ro - fuse.mopsfs b ro\n");
	cr_assert(eq(sz, list.n, 1));
	cr_expect(eq(int, list.e[0].id, 2));
}

Test(mountinfo, matches_options_as_whole_words)
{
	cr_expect(mount_option_has("ro,nosuid,nodev", "nosuid"));
	cr_expect(mount_option_has("ro", "ro"));
	cr_expect(not(mount_option_has("rox,nosuidx", "ro")));
	cr_expect(not(mount_option_has("rw,norelatime", "ro")));
	cr_expect(not(mount_option_has("", "ro")));
}

Test(mountinfo, makes_paths_absolute_and_follows_links)
{
	cleanup_tmpdir char *dir = tmpdir_new();
	cleanup_free char *real = NULL;
	cleanup_free char *m = NULL, *l = NULL, *missing = NULL, *dot = NULL;

	real = realpath(dir, NULL);
	cr_assert(eq(int, chdir(dir), 0));
	cr_assert(eq(int, mkdir("m", 0755), 0));
	cr_assert(eq(int, symlink("m", "l"), 0));
	m = mountpoint_path("m//");
	l = mountpoint_path("l");
	missing = mountpoint_path("./missing");
	dot = mountpoint_path(".");
	cr_expect(eq(str, m + strlen(real), "/m"));
	cr_expect(eq(str, l, m));
	cr_expect(eq(str, missing + strlen(real), "/missing"));
	cr_expect(eq(str, dot, real));
	cr_expect(eq(ptr, mountpoint_path("no/such"), NULL));
	cr_expect(eq(ptr, mountpoint_path(""), NULL));
}
