#include "base/map.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static void *val(uintptr_t v)
{
	return (void *)v;
}

Test(map, is_empty_at_first)
{
	cleanup_map struct map m = MAP_INIT;
	size_t pos = 0;

	cr_assert(eq(ptr, map_get_str(&m, "a"), NULL));
	cr_assert(eq(ptr, map_del(&m, "a", 1), NULL));
	cr_assert(not(map_next(&m, &pos, NULL, NULL, NULL)));
	cr_assert(eq(sz, map_count(&m), 0));
}

Test(map, returns_what_was_there)
{
	cleanup_map struct map m = MAP_INIT;

	cr_assert(eq(ptr, map_put_str(&m, "a", val(1)), NULL));
	cr_assert(eq(ptr, map_put_str(&m, "a", val(2)), val(1)));
	cr_assert(eq(ptr, map_get_str(&m, "a"), val(2)));
	cr_assert(eq(sz, map_count(&m), 1));
	cr_assert(eq(ptr, map_del(&m, "a", 1), val(2)));
	cr_assert(eq(ptr, map_get_str(&m, "a"), NULL));
	cr_assert(eq(sz, map_count(&m), 0));
}

Test(map, keys_are_bytes_and_are_copied)
{
	cleanup_map struct map m = MAP_INIT;
	char key[] = "k1";

	map_put_str(&m, key, val(1));
	key[1] = '2';
	map_put_str(&m, key, val(2));
	map_put(&m, "a\0b", 3, val(3));
	map_put(&m, "a\0c", 3, val(4));
	map_put(&m, "a", 1, val(5));
	map_put(&m, NULL, 0, val(6));
	cr_assert(eq(ptr, map_get_str(&m, "k1"), val(1)));
	cr_assert(eq(ptr, map_get_str(&m, "k2"), val(2)));
	cr_assert(eq(ptr, map_get(&m, "a\0b", 3), val(3)));
	cr_assert(eq(ptr, map_get(&m, "a\0c", 3), val(4)));
	cr_assert(eq(ptr, map_get_str(&m, "a"), val(5)));
	cr_assert(eq(ptr, map_get_str(&m, ""), val(6)));
}

Test(map, holds_many_through_growth_and_deletion)
{
	cleanup_map struct map m = MAP_INIT;
	const uint32_t n = 20000;

	for (uint32_t i = 1; i <= n; i++)
		cr_assert(eq(ptr, map_put(&m, &i, 4, val(i)), NULL));
	for (uint32_t i = 1; i <= n; i += 2)
		cr_assert(eq(ptr, map_del(&m, &i, 4), val(i)));
	cr_assert(eq(sz, map_count(&m), n / 2));
	for (uint32_t i = 1; i <= n; i++)
		cr_assert(eq(ptr, map_get(&m, &i, 4), i % 2 ? NULL : val(i)));
}

Test(map, put_and_delete_for_ever_does_not_grow_it)
{
	cleanup_map struct map m = MAP_INIT;

	for (uint32_t i = 0; i < 100000; i++) {
		map_put(&m, &i, 4, val(1));
		cr_assert(eq(ptr, map_del(&m, &i, 4), val(1)));
	}
	cr_assert(le(sz, m.cap, 32));
	cr_assert(eq(sz, map_count(&m), 0));
}

Test(map, iteration_meets_each_once_and_may_delete)
{
	cleanup_map struct map m = MAP_INIT;
	bool seen[100] = {false};
	const void *key;
	void *value;
	size_t pos = 0, n, met = 0;

	for (int i = 0; i < 100; i++) {
		char k[8];

		map_put(&m, k, (size_t)snprintf(k, sizeof(k), "%d", i),
			val((uintptr_t)i + 1));
	}
	while (map_next(&m, &pos, &key, &n, &value)) {
		size_t i = (uintptr_t)value - 1;
		char k[8];

		snprintf(k, sizeof(k), "%zu", i);
		cr_assert(eq(sz, n, strlen(k)));
		cr_assert(eq(int, memcmp(key, k, n), 0));
		cr_assert(not(seen[i]));
		seen[i] = true;
		met++;
		map_del(&m, k, n);
	}
	cr_assert(eq(sz, met, 100));
	cr_assert(eq(sz, map_count(&m), 0));
}
