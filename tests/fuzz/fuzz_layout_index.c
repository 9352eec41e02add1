/*
 * An index.json that is accepted is written as one that is accepted, with the
 * same entries; changes to it can be found again.
 */
#include <assert.h>
#include <stdlib.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "storage/layout_index.h"
#include "tests/fuzz/fuzz.h"

#define NAME "fuzz/x:1"

static void check_same(const struct layout_index *a,
		       const struct layout_index *b)
{
	size_t i;

	assert(a->n == b->n);
	for (i = 0; i < a->n; i++) {
		const char *x = layout_entry_name(&a->entries[i]);
		const char *y = layout_entry_name(&b->entries[i]);

		assert(a->entries[i].usable == b->entries[i].usable);
		assert(digest_equal(&a->entries[i].desc.digest,
				    &b->entries[i].desc.digest));
		assert(!x == !y && (!x || strcmp(x, y) == 0));
	}
}

static void check_written(const struct layout_index *idx)
{
	cleanup_layout_index struct layout_index again = LAYOUT_INDEX_INIT;
	cleanup_strbuf struct strbuf out = STRBUF_INIT;
	int r = layout_index_write(idx, &out, NULL);

	assert(r == 0 || r == -EFBIG);
	if (r < 0)
		return;
	if (layout_index_parse(out.buf, out.len, &again, NULL) < 0)
		abort();
	check_same(idx, &again);
}

static void change(struct layout_index *idx)
{
	struct descriptor d = {.media_type = (char *)MEDIA_TYPE_MANIFEST};
	const struct layout_entry *e = NULL;
	size_t i;

	d.digest = digest_of_str("fuzz");
	layout_index_set(idx, NAME, &d);
	if (layout_index_find(idx, NAME, &e, NULL) < 0)
		abort();
	assert(digest_equal(&e->desc.digest, &d.digest));
	check_written(idx);
	for (i = 0; i < idx->n; i++) {
		const char *name = layout_entry_name(&idx->entries[i]);
		cleanup_free char *copy = name ? xstrdup(name) : NULL;

		if (copy && layout_index_untag(idx, copy))
			assert(layout_index_find(idx, copy, &e, NULL) ==
			       -ENOENT);
	}
	assert(layout_index_by_digest(idx, &d.digest));
	layout_index_drop_unnamed(idx, &d.digest);
	check_written(idx);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_layout_index struct layout_index idx = LAYOUT_INDEX_INIT;

	if (layout_index_parse(data, size, &idx, NULL) < 0) {
		assert(!idx.doc && idx.n == 0);
		return 0;
	}
	check_written(&idx);
	change(&idx);
	return 0;
}
