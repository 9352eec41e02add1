#include "engine/file_list.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "bundles.h"

static int check(const char *text, struct error **errp)
{
	return file_list_check(text, strlen(text), errp);
}

Test(file_list, is_paths_globs_and_comments)
{
	cr_expect(eq(int, check("", NULL), 0));
	cr_expect(eq(int,
		     check("# first\n\na/b c\r\n**/*.bin\nfolder/\n[a-z]/x",
			   NULL),
		     0));
}

Test(file_list, says_which_line_cannot_be)
{
	static const char *const bad[] = {
		"ok\n/abs\n",    "ok\n../up\n",    "ok\na//b\n",
		"ok\na[\n",      "ok\n/abs/*\n",   "ok\na\x01\n",
		"ok\n.mops/x\n", "ok\n../*.bin\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cleanup_error struct error *err = NULL;

		cr_assert(eq(int, check(bad[i], &err), -EINVAL), "%s", bad[i]);
		cr_expect(strstr(err->message, "line 2") != NULL, "%s",
			  err->message);
	}
}

Test(file_list, has_few_globs)
{
	cleanup_strbuf struct strbuf text = STRBUF_INIT;

	for (unsigned i = 0; i < FILE_LIST_GLOBS_MAX; i++)
		strbuf_addf(&text, "%u*\n%u\n", i, i);
	cr_expect(eq(int, file_list_check(text.buf, text.len, NULL), 0));
	strbuf_adds(&text, "*");
	cr_expect(eq(int, file_list_check(text.buf, text.len, NULL), -EINVAL));
}

Test(file_list, is_bounded)
{
	size_t n = FILE_LIST_BYTES_MAX + 1;
	cleanup_free char *text = xmalloc(n);

	memset(text, '#', n);
	cr_expect(eq(int, file_list_check(text, n, NULL), -EFBIG));
	cr_expect(eq(int, file_list_check(text, n - 1, NULL), 0));
}

/*
 * Applied to a role.
 */

static struct made_bundle m;
static struct bundle *bundle;
static struct role_view *view;
static struct source_set *set;
static struct file_list_counts got;

static void open_role(void)
{
	bundle_make(&m, NULL);
	view = bundle_view(&m, NULL, &bundle);
	set = source_set_new(view);
	got = (struct file_list_counts){7, 7, 7};
}

static void close_role(void)
{
	source_set_free(set);
	role_view_close(view);
	bundle_close(bundle);
	bundle_release(&m);
}

TestSuite(file_list_of_role, .init = open_role, .fini = close_role);

static int add(const char *text)
{
	return file_list_add(text, strlen(text), set, &got, NULL, NULL);
}

static void expect(uint64_t files, uint64_t bytes, uint64_t skipped)
{
	cr_expect(eq(u64, got.files, files));
	cr_expect(eq(u64, got.bytes, bytes));
	cr_expect(eq(u64, got.skipped, skipped));
}

Test(file_list_of_role, takes_each_file_once)
{
	cr_assert(eq(int, add("bin/run\nsrc\n# all\n**/*.py\n*/run\n"), 0));
	expect(4, 77 + 5000 + 1, 0);
	cr_expect(eq(sz, source_set_count(set), 1));
}

Test(file_list_of_role, counts_lines_that_name_nothing)
{
	cr_assert(eq(int,
		     add("none\nbin/run\nbin/run\nbin\nsrc/*.c\nbin/run/x\n"),
		     0));
	expect(1, 77, 3);
}

Test(file_list_of_role, says_nothing_of_what_it_cannot_read)
{
	cleanup_strbuf struct strbuf text = STRBUF_INIT;

	cr_expect(eq(int, add("bin/run\n../up\n"), -EINVAL));
	expect(7, 7, 7);
	/* Whoever takes a mount over has not checked it. */
	for (unsigned i = 0; i <= FILE_LIST_GLOBS_MAX; i++)
		strbuf_addf(&text, "%u*\n", i);
	cr_expect(eq(int, add(text.buf), -EINVAL));
	expect(7, 7, 7);
}
