#include "tests/fakes/pieces.h"

#include "base/alloc.h"

#define PIECE ((size_t)64 << 10)

int sink_put(struct sink *s, const char *p, uint64_t n, const struct op *op,
	     struct error **errp)
{
	int r = 0;

	for (uint64_t off = 0; r == 0 && off < n; off += PIECE) {
		size_t len = (size_t)MIN(n - off, (uint64_t)PIECE);

		r = op_go_on(op, errp);
		if (r == 0)
			r = s->write(s, p + off, len, errp);
		if (r == 0)
			op_count_in(op, len);
	}
	return r;
}

int feed_get(struct feed *f, char *buf, const struct op *op,
	     struct error **errp)
{
	int r = 0;

	for (uint64_t off = 0; r == 0 && off < f->size; off += PIECE) {
		size_t len = (size_t)MIN(f->size - off, (uint64_t)PIECE);

		r = op_go_on(op, errp);
		if (r == 0)
			r = f->pread(f, buf + off, len, off, errp);
		if (r == 0)
			op_count_out(op, len);
	}
	return r;
}
