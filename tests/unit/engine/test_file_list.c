#include "engine/file_list.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"

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
