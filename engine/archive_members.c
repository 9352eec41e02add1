#include "engine/archive_members.h"

#include "base/alloc.h"

void archive_members_release(struct archive_members *m)
{
	for (size_t i = 0; i < m->n; i++) {
		free(m->v[i].path);
		free(m->v[i].owned);
	}
	free(m->v);
}

struct archive_member *archive_add(struct archive_members *m, const char *path,
				   enum tar_kind kind)
{
	struct archive_member *e;

	ARRAY_GROW(m->v, m->n, m->cap);
	e = &m->v[m->n++];
	*e = (struct archive_member){.path = xstrdup(path), .node = TREE_NONE};
	e->entry.kind = kind;
	e->entry.path = e->path;
	return e;
}

static int by_path(const void *a, const void *b)
{
	const struct archive_member *x = a, *y = b;

	return strcmp(x->path, y->path);
}

/* Sort, and drop directories that were added twice. */
static void members_finish(struct archive_members *m)
{
	size_t kept = 0;

	qsort(m->v, m->n, sizeof(*m->v), by_path);
	for (size_t i = 0; i < m->n; i++) {
		if (kept > 0 && !strcmp(m->v[kept - 1].path, m->v[i].path)) {
			free(m->v[i].path);
			free(m->v[i].owned);
			continue;
		}
		m->v[kept++] = m->v[i];
	}
	m->n = kept;
}

static int write_zeros(struct archive_out *out, uint64_t n, struct error **errp)
{
	static const char zeros[TAR_RECORD];
	int r = 0;

	while (r == 0 && n > 0) {
		size_t step = MIN(n, sizeof(zeros));

		r = archive_out_write(out, zeros, step, errp);
		n -= step;
	}
	return r;
}

static int write_members(const struct archive_members *m,
			 struct archive_out *out, archive_content_fn content,
			 void *ctx, struct error **errp)
{
	uint64_t total = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->n; i++) {
		const struct archive_member *e = &m->v[i];
		cleanup_strbuf struct strbuf head = STRBUF_INIT;
		uint64_t pad = tar_padding(e->entry.size);

		tar_header(&head, &e->entry);
		total += head.len + e->entry.size + pad;
		r = archive_out_write(out, head.buf, head.len, errp);
		if (r == 0 && e->entry.size > 0)
			r = content(ctx, e, out, errp);
		if (r == 0)
			r = write_zeros(out, pad, errp);
	}
	return r < 0 ? r : write_zeros(out, tar_trailer(total), errp);
}

int archive_write(const char *file, struct archive_members *m,
		  archive_content_fn content, void *ctx,
		  struct export_result *ret, struct error **errp)
{
	struct archive_out *out;
	int r;

	members_finish(m);
	r = archive_out_open(file, &out, errp);
	if (r < 0)
		return r;
	r = write_members(m, out, content, ctx, errp);
	if (r == 0)
		r = archive_out_commit(out, &ret->tar, errp);
	if (r == 0)
		ret->zstd_version =
			archive_out_compressor(out, &ret->zstd_level);
	archive_out_free(out);
	return r;
}
