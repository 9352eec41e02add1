#include "base/random.h"

#include <sys/random.h>

static uint64_t random_u64(void)
{
	uint64_t v;

	while (getrandom(&v, sizeof(v), 0) != (ssize_t)sizeof(v))
		;
	return v;
}

uint64_t random_below(uint64_t n)
{
	uint64_t skip, v;

	if (n < 2)
		return 0;
	/* 2^64 mod n values would be favoured: draw again for these. */
	skip = -n % n;
	do
		v = random_u64();
	while (v < skip);
	return v % n;
}
