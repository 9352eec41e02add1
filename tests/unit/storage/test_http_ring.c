#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "storage/http_ring.h"

Test(http_ring, keeps_order_around_its_end)
{
	struct ring r = {.buf = xmalloc(7), .cap = 7};
	char out[8];
	char next_in = 0, next_out = 0;

	for (int i = 0; i < 1000; i++) {
		size_t n = (size_t)(i * 5 % 7), got;
		char in[8];

		for (size_t j = 0; j < MIN(n, ring_room(&r)); j++)
			in[j] = next_in++;
		ring_put(&r, in, MIN(n, ring_room(&r)));
		got = ring_take(&r, out, (size_t)(i * 3 % 5));
		for (size_t j = 0; j < got; j++)
			cr_assert(eq(chr, out[j], next_out++));
	}
	free(r.buf);
}

Test(http_ring, space_that_was_shown_stays_where_it_is)
{
	struct ring r = {.buf = xmalloc(8), .cap = 8};
	char out[8] = "";
	size_t n;
	char *space;

	ring_put(&r, "abc", 3);
	space = ring_space(&r, &n);
	memcpy(space, "de", 2);
	cr_assert(eq(sz, ring_take(&r, out, 3), 3)); /* emptied meanwhile */
	ring_filled(&r, 2);
	cr_assert(eq(sz, ring_take(&r, out, 8), 2));
	cr_expect(eq(int, memcmp(out, "de", 2), 0));
	free(r.buf);
}
