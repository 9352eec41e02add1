#include "engine/pack.h"

#include "base/alloc.h"
#include "engine/tar.h"

#define CUT_MIN   (UINT64_C(8) << 20)
#define CUT_MAX   (UINT64_C(64) << 20)
#define MAX_STEP  4u
#define MAX_PACKS 112u

/*
 * Whether a pack ends behind a file depends on that file and on the sum so far
 * alone. A change moves the cuts behind it only until the first file that ends
 * a pack with both sums, after which all packs are as before.
 */
size_t pack_cut(const struct pack_item *items, size_t n, unsigned k)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t e =
			TAR_BLOCK + items[i].size + tar_padding(items[i].size);
		uint64_t h = digest_prefix64(&items[i].digest);

		sum += e;
		if (sum >= CUT_MAX << k ||
		    (sum >= CUT_MIN << k && h >> (40 - k) < e))
			return i + 1;
	}
	return n;
}

static size_t count_packs(const struct pack_layer *l, unsigned k)
{
	size_t packs = 0;

	for (size_t i = 0; i < l->n; packs++)
		i += pack_cut(l->items + i, l->n - i, k);
	return packs;
}

unsigned pack_step(const struct pack_layer *layers, size_t n_layers)
{
	for (unsigned k = 0; k < MAX_STEP; k++) {
		size_t packs = 0;

		for (size_t i = 0; i < n_layers; i++)
			packs += count_packs(&layers[i], k);
		if (packs <= MAX_PACKS)
			return k;
	}
	return MAX_STEP;
}
