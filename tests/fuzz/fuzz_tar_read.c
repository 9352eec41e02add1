/*
 * An archive that is read to its end is, byte for byte, the one that would be
 * written for what was read.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "engine/tar.h"
#include "tests/fuzz/fuzz.h"

struct input {
	const uint8_t *p;
	size_t left;
};

static int take(void *ctx, void *buf, size_t n, struct error **errp)
{
	struct input *in = ctx;

	/* Never all that is asked for, so that short reads are seen to. */
	n = MIN(MIN(n, in->left), (size_t)1000);
	memcpy(buf, in->p, n);
	in->p += n;
	in->left -= n;
	return (int)n;
}

static void zeros(struct strbuf *out, uint64_t n)
{
	while (n--)
		strbuf_addc(out, '\0');
}

/* Content of the current file; false when it ends early. */
static bool copy(struct tar_reader *t, uint64_t size, struct strbuf *out)
{
	char buf[4096];
	uint64_t got = 0;
	ssize_t n;

	while ((n = tar_reader_read(t, buf, sizeof(buf), NULL)) > 0) {
		strbuf_add(out, buf, (size_t)n);
		got += (uint64_t)n;
	}
	assert(n < 0 || got == size);
	return n == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_strbuf struct strbuf out = STRBUF_INIT;
	struct input in = {data, size};
	struct tar_reader *t = tar_reader_new(take, &in);
	struct tar_entry e;
	int r;

	while ((r = tar_reader_next(t, &e, NULL)) > 0) {
		tar_header(&out, &e);
		if (e.kind == TAR_FILE && !copy(t, e.size, &out)) {
			r = -1;
			break;
		}
		zeros(&out, tar_padding(e.size));
	}
	tar_reader_free(t);
	if (r < 0)
		return 0;
	zeros(&out, tar_trailer(out.len));
	if (out.len != size || memcmp(out.buf, data, size) != 0)
		abort();
	return 0;
}
