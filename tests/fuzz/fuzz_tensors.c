/*
 * The header of a weight file. The first byte chooses the format, four say how
 * much longer the file is than what follows. Tensors lie in order, apart, and in
 * the file; who has less of the header is told to come with more, and then reads
 * the same.
 */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "engine/tensors.h"
#include "tests/fuzz/fuzz.h"

static void check(const struct tensors *t, uint64_t size)
{
	assert(t->n <= TENSORS_MAX);
	for (uint32_t i = 0; i < t->n; i++) {
		assert(t->v[i].from < t->v[i].to && t->v[i].to <= size);
		assert(i == 0 || t->v[i - 1].to <= t->v[i].from);
		assert(tensors_at(t, t->v[i].from) == (int64_t)i);
		assert(tensors_at(t, t->v[i].to - 1) == (int64_t)i);
	}
	assert(tensors_at(t, size) == -1);
	assert(!t->n || t->v[0].from == 0 ||
	       tensors_at(t, t->v[0].from - 1) == -1);
}

static int parse(enum weights format, const uint8_t *p, size_t n, uint64_t size,
		 struct tensors **ret)
{
	cleanup_free void *exact = xmemdup(p, n ? n : 1);
	size_t need = 0;
	int r = tensors_parse(format, exact, n, size, ret, &need, NULL);

	if (r == -EAGAIN)
		assert(need > n && need <= size && need <= TENSORS_HEAD_MAX);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_free struct tensors *all = NULL, *some = NULL;
	enum weights format;
	uint32_t more;
	size_t n;

	if (size < 6)
		return 0;
	format = data[0] & 1 ? WEIGHTS_GGUF : WEIGHTS_SAFETENSORS;
	memcpy(&more, data + 1, sizeof(more));
	data += 5;
	n = size - 5;

	uint64_t whole = n + (uint64_t)le32toh(more);
	int r = parse(format, data, n, whole, &all);
	int half = parse(format, data, n / 2, whole, &some);

	if (r == 0)
		check(all, whole);
	if (half == 0) { /* all of the header was in the first half */
		assert(r == 0 && all->n == some->n);
		assert(!memcmp(all->v, some->v, all->n * sizeof(all->v[0])));
	} else {
		assert(half == -EAGAIN || half == r);
	}
	return 0;
}
