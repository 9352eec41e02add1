#include "fs/received.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>

#include "base/alloc.h"
#include "base/io.h"

Test(received, knows_a_device_from_a_folder)
{
	static const char *const folders[] = {
		"/dev/fd",
		"/dev/fd/",
		"/dev/fd/x",
		"/dev/fd/3x",
		"/dev/fd/3/",
		"/dev/fd/-3",
		"/dev/fd/+3",
		"/dev/fd/03",
		"/dev/fd/3\n",
		"dev/fd/3",
		"/dev/fd/2147483648",
		"/dev/fd/99999999999999999999",
	};

	cr_expect(eq(int, received_number("/dev/fd/0"), 0));
	cr_expect(eq(int, received_number("/dev/fd/17"), 17));
	cr_expect(eq(int, received_number("/dev/fd/2147483647"), 2147483647));
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		cr_expect(eq(int, received_number(folders[i]), -1), "%s",
			  folders[i]);
}

Test(received, reads_where_the_kernel_says_it_is)
{
	unsigned major = 7, minor = 7;

	cr_assert(received_parse_fdinfo(
		"pos:\t0\nflags:\t02100002\nmnt_id:\t62\nino:\t90\n"
		"fuse_connection:\t44\n",
		&major, &minor));
	cr_expect(eq(uint, major, 0));
	cr_expect(eq(uint, minor, 44));
	/* fuseblk: of a disk */
	cr_assert(received_parse_fdinfo("ino:\t9\nfuse_connection:\t8388609\n",
					&major, &minor));
	cr_expect(eq(uint, major, 8));
	cr_expect(eq(uint, minor, 1));
}

Test(received, finds_nothing_where_the_kernel_says_nothing)
{
	static const char *const texts[] = {
		"",
		"pos:\t0\nflags:\t02\n",
		"pos:\t0\nfuse_connection:\t\n",
		"pos:\t0\nfuse_connection:\t0\n",
		"pos:\t0\nfuse_connection:\t-1\n",
		"pos:\t0\nfuse_connection:\t44x\n",
		"pos:\t0\nfuse_connection:\t4294967296\n",
		"pos:\t0\nnot_fuse_connection:\t44\n",
	};
	unsigned major = 7, minor = 7;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		cr_expect(not(received_parse_fdinfo(texts[i], &major, &minor)),
			  "%s", texts[i]);
	cr_expect(eq(uint, minor, 7));
}

Test(received, refuses_what_is_no_device_of_a_mount)
{
	cleanup_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	cleanup_error struct error *err = NULL;

	cr_expect(eq(int, received_check(null, &err), -EINVAL));
	error_freep(&err);
	cr_expect(eq(int, received_check(1 << 20, &err), -EBADF));
	cr_expect(eq(int, err->kind, ERROR_VALIDATION));
}
