#include "base/strbuf.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

Test(strbuf, is_an_empty_string_before_anything_is_added)
{
	cleanup_strbuf struct strbuf sb = STRBUF_INIT;
	cleanup_free char *s = NULL;

	cr_assert(eq(str, strbuf_str(&sb), ""));
	strbuf_reset(&sb);
	s = strbuf_steal(&sb);
	cr_assert(eq(str, s, ""));
}

Test(strbuf, appends_all_kinds)
{
	cleanup_strbuf struct strbuf sb = STRBUF_INIT;

	strbuf_adds(&sb, "ab");
	strbuf_addc(&sb, 'c');
	strbuf_add(&sb, "d\0e", 3);
	strbuf_addf(&sb, "%s%d", "f", 7);
	cr_assert(eq(sz, sb.len, 8));
	cr_assert(eq(int, memcmp(sb.buf, "abcd\0ef7", 9), 0));
}

Test(strbuf, stays_terminated_while_it_grows)
{
	cleanup_strbuf struct strbuf sb = STRBUF_INIT;

	for (size_t i = 0; i < 5000; i++) {
		strbuf_addf(&sb, "%c", 'a' + (int)(i % 26));
		cr_assert(eq(sz, strlen(sb.buf), i + 1));
	}
}

Test(strbuf, formats_what_is_longer_than_its_room)
{
	cleanup_strbuf struct strbuf sb = STRBUF_INIT;
	char big[4001];

	memset(big, 'x', 4000);
	big[4000] = '\0';
	strbuf_addf(&sb, "<%s>", big);
	cr_assert(eq(sz, sb.len, 4002));
	cr_assert(eq(chr, sb.buf[4001], '>'));
}

Test(strbuf, adding_nothing_from_null_is_fine)
{
	cleanup_strbuf struct strbuf sb = STRBUF_INIT;

	strbuf_add(&sb, NULL, 0);
	cr_assert(eq(str, strbuf_str(&sb), ""));
}

Test(strbuf, truncates_and_steals)
{
	cleanup_strbuf struct strbuf sb = STRBUF_INIT;
	cleanup_free char *s = NULL;

	strbuf_adds(&sb, "hello");
	strbuf_truncate(&sb, 2);
	cr_assert(eq(str, strbuf_str(&sb), "he"));
	s = strbuf_steal(&sb);
	cr_assert(eq(str, s, "he"));
	cr_assert(eq(sz, sb.len, 0));
	cr_assert(eq(str, strbuf_str(&sb), ""));
}

Test(strbuf, sizes_are_cut_and_never_rounded_up)
{
	static const struct {
		uint64_t n;
		const char *want;
	} cases[] = {
		{0, "0 B"},
		{999, "999 B"},
		{1000, "1.0 kB"},
		{1999, "1.9 kB"},
		{999999, "999.9 kB"},
		{1000000, "1.0 MB"},
		{34567890, "34.5 MB"},
		{5000000000, "5.0 GB"},
		{UINT64_MAX, "18.4 EB"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_strbuf struct strbuf sb = STRBUF_INIT;

		strbuf_add_size(&sb, cases[i].n);
		cr_expect(eq(str, sb.buf, cases[i].want));
	}
}
