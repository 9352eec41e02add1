#include "engine/trace.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"

static int check(const char *text)
{
	return trace_check(text, strlen(text), NULL);
}

Test(trace, gives_what_was_written_in_its_order)
{
	static const struct trace_record want[] = {
		{0, 3, "b/big.bin", 9},
		{0, 1, "a name", 6},
		{4294967294u, 1, "b/big.bin", 9},
	};
	cleanup_strbuf struct strbuf text = STRBUF_INIT;
	struct trace_record got;
	struct trace_reader t;

	strbuf_adds(&text, TRACE_HEAD);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		trace_write(&want[i], &text);
	cr_assert(trace_begin(&t, text.buf, text.len, NULL) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		cr_assert(eq(int, trace_next(&t, &got, NULL), 1));
		cr_expect(eq(u32, got.first, want[i].first));
		cr_expect(eq(u32, got.count, want[i].count));
		cr_assert(eq(sz, got.path_len, want[i].path_len));
		cr_expect(memcmp(got.path, want[i].path, got.path_len) == 0);
	}
	cr_expect(eq(int, trace_next(&t, &got, NULL), 0));
	cr_expect(eq(int, trace_next(&t, &got, NULL), 0));
}

Test(trace, may_be_empty)
{
	cr_expect(eq(int, check(TRACE_HEAD), 0));
}

Test(trace, refuses_what_is_none)
{
	static const char *const bad[] = {
		"",
		"mops-trace",
		"mops-trace 1",
		"mops-trace 2\n",
		"mops-trace 1\r\n",
		TRACE_HEAD "\n",
		TRACE_HEAD "0 1 a",
		TRACE_HEAD "0 1 a\n\n",
		TRACE_HEAD "0 1\n",
		TRACE_HEAD "0 1 \n",
		TRACE_HEAD "0  1 a\n",
		TRACE_HEAD " 0 1 a\n",
		TRACE_HEAD "00 1 a\n",
		TRACE_HEAD "0 0 a\n",
		TRACE_HEAD "0 -1 a\n",
		TRACE_HEAD "0 +1 a\n",
		TRACE_HEAD "0 1x a\n",
		TRACE_HEAD "0 1\ta\n",
		TRACE_HEAD "4294967296 1 a\n",
		TRACE_HEAD "4294967295 1 a\n",
		TRACE_HEAD "99999999999999999999999999 1 a\n",
		TRACE_HEAD "0 1 /a\n",
		TRACE_HEAD "0 1 ../a\n",
		TRACE_HEAD "0 1 a/../b\n",
		TRACE_HEAD "0 1 a//b\n",
		TRACE_HEAD "0 1 a\x01\n",
		TRACE_HEAD "0 1 a\xff\n",
		TRACE_HEAD "0 1 .mops/x\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cleanup_error struct error *err = NULL;

		cr_expect(eq(int, trace_check(bad[i], strlen(bad[i]), &err),
			     -EINVAL),
			  "%s", bad[i]);
		cr_expect(err && err->kind == ERROR_VALIDATION);
	}
}

/* It ends neither the line nor the text. */
Test(trace, refuses_a_name_with_a_nul)
{
	static const char text[] = TRACE_HEAD "0 1 a\0b\n";
	cleanup_error struct error *err = NULL;

	cr_assert(eq(int, trace_check(text, sizeof(text) - 1, &err), -EINVAL));
	cr_expect(strstr(err->message, "no end") == NULL, "%s", err->message);
}

Test(trace, says_in_which_line)
{
	static const char text[] = TRACE_HEAD "0 1 a\n1 1 a\n2 a\n";
	cleanup_error struct error *err = NULL;

	cr_assert(trace_check(text, strlen(text), &err) == -EINVAL);
	cr_expect(strstr(err->message, "line 4") != NULL, "%s", err->message);
}

Test(trace, is_bounded)
{
	size_t n = TRACE_BYTES_MAX + 1;
	cleanup_free char *text = xmalloc(n);

	memset(text, 'a', n);
	memcpy(text, TRACE_HEAD, strlen(TRACE_HEAD));
	cr_expect(eq(int, trace_check(text, n, NULL), -EFBIG));
	cr_expect(eq(int, trace_check(text, n - 1, NULL), -EINVAL));
}
