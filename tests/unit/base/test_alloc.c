#include "base/alloc.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>

/* Under the address sanitizer too, memory that is out is a NULL. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

Test(alloc, gives_a_pointer_for_no_bytes)
{
	cleanup_free void *a = xmalloc(0), *b = xcalloc(0, 8);
	cleanup_free void *c = xrealloc(NULL, 0, 4), *d = xmemdup(NULL, 0);

	cr_assert(a && b && c && d);
}

Test(alloc, xrealloc_to_nothing_keeps_a_pointer)
{
	void *p = xmalloc(10);

	p = xrealloc(p, 0, 1);
	cr_assert(ne(ptr, p, NULL));
	free(p);
}

Test(alloc, xrealloc_aborts_on_overflow, .signal = SIGABRT)
{
	xrealloc(NULL, SIZE_MAX / 2, 4);
}

Test(alloc, xmalloc_aborts_when_memory_is_out, .signal = SIGABRT)
{
	volatile size_t much = SIZE_MAX / 2;

	xmalloc(much);
}

Test(alloc, try_realloc_returns_null_on_overflow)
{
	cleanup_free void *p = try_realloc(NULL, 0, 8);

	cr_assert(ne(ptr, p, NULL));
	cr_assert(eq(ptr, try_realloc(NULL, SIZE_MAX / 2, 4), NULL));
}

Test(alloc, xcalloc_zeroes)
{
	cleanup_free char *p = xcalloc(3, 5);

	for (int i = 0; i < 15; i++)
		cr_assert(eq(int, p[i], 0));
}

Test(alloc, duplicates)
{
	cleanup_free char *a = xstrdup("abc"), *b = xstrndup("abc", 2);
	cleanup_free char *c = xmemdup("a\0b", 3),
			  *d = xasprintf("%d-%s", 7, a);

	cr_assert(eq(str, a, "abc"));
	cr_assert(eq(str, b, "ab"));
	cr_assert(eq(int, memcmp(c, "a\0b", 3), 0));
	cr_assert(eq(str, d, "7-abc"));
}

Test(alloc, closes_what_is_not_stolen)
{
	int kept, closed;

	{
		cleanup_fd int a = open("/dev/null", O_RDONLY | O_CLOEXEC);
		cleanup_fd int b = open("/dev/null", O_RDONLY | O_CLOEXEC);

		closed = a;
		kept = steal_fd(&b);
		cr_assert(eq(int, b, -1));
	}
	cr_assert(eq(int, fcntl(closed, F_GETFD), -1));
	cr_assert(ge(int, fcntl(kept, F_GETFD), 0));
	close(kept);
}

Test(alloc, steal_ptr_leaves_null)
{
	cleanup_free char *a = xstrdup("x");
	char *b = steal_ptr(&a);

	cr_assert(eq(ptr, a, NULL));
	cr_assert(eq(str, b, "x"));
	free(b);
}

Test(alloc, string_lists_grow)
{
	cleanup_strv char **v = NULL;

	cr_assert(eq(sz, strv_len(v), 0));
	for (int i = 0; i < 100; i++)
		strv_append(&v, xasprintf("%d", i));
	cr_assert(eq(sz, strv_len(v), 100));
	cr_assert(eq(str, v[0], "0"));
	cr_assert(eq(str, v[99], "99"));
	cr_assert(eq(ptr, v[100], NULL));
}

Test(alloc, array_grow_makes_room_for_one_more)
{
	cleanup_free int *a = NULL;
	size_t n = 0, cap = 0;

	for (int i = 0; i < 1000; i++) {
		ARRAY_GROW(a, n, cap);
		cr_assert(lt(sz, n, cap));
		a[n++] = i;
	}
	cr_assert(eq(int, a[999], 999));
}
