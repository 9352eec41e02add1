#include "engine/chunk_set.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int chunk_set_add(struct chunk_set *s, uint32_t id, uint32_t i, uint32_t n)
{
	unsigned char *bits = map_get(&s->by_id, &id, sizeof(id));
	unsigned char bit = (unsigned char)(1u << i % 8);

	assert(i < n);
	if (!bits) {
		bits = calloc(1, n / 8 + 1);
		if (!bits)
			return -ENOMEM;
		map_put(&s->by_id, &id, sizeof(id), bits);
	}
	if (bits[i / 8] & bit)
		return 0;
	bits[i / 8] |= bit;
	return 1;
}

void chunk_set_release(struct chunk_set *s)
{
	size_t pos = 0;
	void *bits;

	while (map_next(&s->by_id, &pos, NULL, NULL, &bits))
		free(bits);
	map_release(&s->by_id);
}
