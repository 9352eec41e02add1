#include "engine/replay.h"

#include <errno.h>

#include "base/map.h"
#include "engine/chunk_set.h"
#include "engine/trace.h"

#define ROUNDS_MAX     50
#define ROUND_PAUSE_MS 100

/* A row of chunks of a source. */
struct row {
	uint32_t source; /* of the tree */
	uint32_t first, end;
};

struct replay {
	struct role_view *v;
	struct source_set *set;
	struct row *rows;
	size_t n, cap;
	struct map files;      /* nodes that were named */
	struct chunk_set seen; /* of sources: each is in one row */
	uint32_t left;         /* of REPLAY_CHUNKS_MAX */
	struct replay_counts counts;
};

struct replay *replay_new(struct role_view *v)
{
	struct replay *p = xcalloc(1, sizeof(*p));

	p->v = v;
	p->set = source_set_new(v);
	p->left = REPLAY_CHUNKS_MAX;
	return p;
}

void replay_free(struct replay *p)
{
	source_set_free(p->set);
	map_release(&p->files);
	chunk_set_release(&p->seen);
	free(p->rows);
	free(p);
}

static bool find(const struct replay *p, const struct trace_record *rec,
		 uint32_t *ret_node, struct tree_node *ret)
{
	return trace_find(rec, p->v->tree, ret_node) == 0 &&
	       tree_node(p->v->tree, *ret_node, ret, NULL) == 0 &&
	       ret->kind == TREE_FILE;
}

static int add_chunk(struct replay *p, uint32_t source, uint32_t i, uint32_t n)
{
	struct row *last = p->n ? &p->rows[p->n - 1] : NULL;
	int r;

	if (p->n == REPLAY_ROWS_MAX)
		return 0;
	r = chunk_set_add(&p->seen, source, i, n);
	if (r <= 0)
		return r;
	if (last && last->source == source && last->end == i) {
		last->end++;
		return 0;
	}
	ARRAY_GROW(p->rows, p->n, p->cap);
	p->rows[p->n++] = (struct row){source, i, i + 1};
	return 0;
}

static uint64_t row_bytes(const struct row *row, uint64_t size)
{
	uint64_t from = (uint64_t)row->first * CHUNK_SIZE;

	return MIN((uint64_t)row->end * CHUNK_SIZE, size) - from;
}

static uint64_t source_size(const struct replay *p, const struct row *row)
{
	return content_size(
		fetch_source_content(source_set_get(p->set, row->source)));
}

/* Bytes [@from, @to) of a file. */
static int add_range(struct replay *p, const struct tree_node *n, uint64_t from,
		     uint64_t to, struct error **errp)
{
	struct tree_source src;
	uint32_t i, n_chunks;
	int r = tree_source(p->v->tree, n->source, &src, errp);

	if (r == 0)
		r = source_set_add(p->set, n->source, errp);
	if (r < 0)
		return r;
	i = (uint32_t)((n->offset + from) / CHUNK_SIZE);
	n_chunks = (uint32_t)((n->offset + to - 1) / CHUNK_SIZE) + 1 - i;
	n_chunks = MIN(n_chunks, p->left);
	p->left -= n_chunks;
	for (; n_chunks; i++, n_chunks--) {
		r = add_chunk(p, n->source, i, chunk_count(src.size));
		if (r < 0)
			return error_set_errno(errp, -r, "a list of chunks");
	}
	return 0;
}

static int add_record(struct replay *p, const struct trace_record *rec,
		      struct error **errp)
{
	uint64_t from = (uint64_t)rec->first * CHUNK_SIZE;
	uint64_t to = from + (uint64_t)rec->count * CHUNK_SIZE;
	struct tree_node n;
	uint32_t node;

	if (!p->left)
		return 0;
	if (!find(p, rec, &node, &n) || from >= n.size) {
		p->counts.skipped++;
		return 0;
	}
	map_put(&p->files, &node, sizeof(node), p);
	return add_range(p, &n, from, MIN(to, n.size), errp);
}

int replay_add(struct replay *p, const char *text, size_t n,
	       const struct op *op, struct error **errp)
{
	struct trace_reader t;
	struct trace_record rec;
	int r = trace_begin(&t, text, n, errp);

	if (r == 0)
		while ((r = trace_next(&t, &rec, errp)) > 0) {
			r = op_go_on(op, errp);
			if (r == 0)
				r = add_record(p, &rec, errp);
			if (r < 0)
				break;
		}
	return r;
}

void replay_count(const struct replay *p, struct replay_counts *ret)
{
	*ret = p->counts;
	ret->files = map_count(&p->files);
	for (size_t i = 0; i < p->n; i++)
		ret->bytes +=
			row_bytes(&p->rows[i], source_size(p, &p->rows[i]));
}

static bool is_here(const struct replay *p, const struct row *row)
{
	struct content *ct =
		fetch_source_content(source_set_get(p->set, row->source));

	for (uint32_t i = row->first; i < row->end; i++)
		if (!content_has(ct, i))
			return false;
	return true;
}

static int put_all(struct replay *p, struct fetch_line *line,
		   const struct op *op, struct error **errp)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct row *row = &p->rows[i];
		struct fetch_source *s = source_set_get(p->set, row->source);
		int r = is_here(p, row)
				? 0
				: fetch_line_put(
					  line, s,
					  (uint64_t)row->first * CHUNK_SIZE,
					  row_bytes(row, source_size(p, row)),
					  op, errp);

		if (r < 0)
			return r;
	}
	return fetch_line_wait(line, op, errp);
}

int replay_run(struct replay *p, struct fetcher *f, const struct op *op,
	       struct error **errp)
{
	struct fetch_line *line = fetch_line_new(f);
	int r = 0;

	/* What others were bringing may take longer, or come to nothing. */
	for (unsigned i = 0; i < ROUNDS_MAX && r == 0; i++) {
		if (i)
			time_sleep_ms(ROUND_PAUSE_MS);
		r = put_all(p, line, op, errp);
		if (r == 0 && !replay_missing(p))
			break;
		if (r == 0 && i + 1 == ROUNDS_MAX)
			r = error_set(errp, EAGAIN, "a part does not come");
	}
	fetch_line_free(line);
	return r;
}

uint64_t replay_missing(const struct replay *p)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < p->n; i++) {
		const struct row *row = &p->rows[i];
		struct content *ct = fetch_source_content(
			source_set_get(p->set, row->source));

		if (content_sealed(ct))
			continue;
		for (uint32_t k = row->first; k < row->end; k++)
			if (!content_has(ct, k))
				sum += chunk_len(content_size(ct), k);
	}
	return sum;
}
