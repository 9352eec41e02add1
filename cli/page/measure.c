#include "cli/page/measure.h"

#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "cache/content.h"

/* So many nodes, and the user may have asked to stop. */
#define LOOK_EVERY 4096u

static void add(uint64_t *to, uint64_t n)
{
	if (__builtin_add_overflow(*to, n, to))
		*to = UINT64_MAX;
}

void weight_add(struct weight *to, const struct weight *w)
{
	add(&to->files, w->files);
	add(&to->bytes, w->bytes);
	add(&to->cached, w->cached);
	for (int p = 0; p < PLACES; p++)
		add(&to->in[p], w->in[p]);
}

void weight_take(struct weight *from, const struct weight *w)
{
	from->files -= MIN(from->files, w->files);
	from->bytes -= MIN(from->bytes, w->bytes);
	from->cached -= MIN(from->cached, w->cached);
	for (int p = 0; p < PLACES; p++)
		from->in[p] -= MIN(from->in[p], w->in[p]);
}

enum place weight_place(const struct weight *w)
{
	enum place most = IN_BLOB;

	for (enum place p = IN_PACK; p < PLACES; p++)
		if (w->in[p] > w->in[most])
			most = p;
	return most;
}

void measured_release(struct measured *m)
{
	free(m->dirs);
	free(m->have);
	*m = (struct measured){0};
}

/*
 * Sources.
 */

static int have_bytes(struct cache *c, const struct tree_source *s,
		      uint64_t *ret, struct error **errp)
{
	const struct content_spec spec = {
		.digest = s->digest, .size = s->size, .chunks = s->chunks};
	struct content *ct;
	uint32_t have;
	int r;

	*ret = s->size;
	if (cache_blob_exists(c, &s->digest, s->size))
		return 0;
	r = content_open(c, &spec, &ct, errp);
	if (r < 0)
		return r;
	have = content_have(ct);
	content_close(ct);
	if (have < chunk_count(s->size))
		*ret = (uint64_t)have * CHUNK_SIZE;
	return 0;
}

static int measure_sources(struct measured *m, struct cache *c,
			   const struct op *op, struct error **errp)
{
	uint32_t n = tree_source_records(m->tree);
	int r = 0;

	m->have = xcalloc(n ? n : 1, sizeof(*m->have));
	for (uint32_t i = 0; r == 0 && i < n;
	     i = tree_next_source(m->tree, i)) {
		struct tree_source s;

		r = tree_source(m->tree, i, &s, errp);
		if (r == 0)
			r = have_bytes(c, &s, &m->have[i], errp);
		if (r == 0)
			r = op_go_on(op, errp);
	}
	return r;
}

/*
 * Folders, the deepest first: what is below one comes behind it.
 */

static int compare_dirs(const void *a, const void *b)
{
	const struct measured_dir *x = a, *y = b;

	return (x->node > y->node) - (x->node < y->node);
}

static const struct weight *weight_of_dir(const struct measured *m, uint32_t i)
{
	const struct measured_dir key = {.node = i};
	const struct measured_dir *d = bsearch(&key, m->dirs, m->n_dirs,
					       sizeof(*m->dirs), compare_dirs);

	return &d->w; /* every folder of the tree is there */
}

static void weigh_file(const struct measured *m, const struct tree_node *n,
		       struct weight *w)
{
	static const enum place places[] = {
		[TREE_SOURCE_BLOB] = IN_BLOB,
		[TREE_SOURCE_RUN] = IN_BLOB,
		[TREE_SOURCE_PACK] = IN_PACK,
		[TREE_SOURCE_EXTERNAL] = IN_EXTERNAL,
	};
	struct tree_source s;
	uint64_t have;

	w->files = 1;
	if (n->source == TREE_NONE ||
	    tree_source(m->tree, n->source, &s, NULL) < 0)
		return;
	w->bytes = n->size;
	w->in[places[s.kind]] = n->size;
	have = m->have[n->source];
	w->cached = have == s.size ? n->size
				   : (uint64_t)((double)n->size * (double)have /
						(double)s.size);
}

void measured_node(const struct measured *m, uint32_t i,
		   const struct tree_node *n, struct weight *ret)
{
	*ret = (struct weight){0};
	if (n->kind == TREE_DIR)
		*ret = *weight_of_dir(m, i);
	else if (n->kind == TREE_FILE)
		weigh_file(m, n, ret);
}

const struct weight *measured_total(const struct measured *m)
{
	return &m->dirs[0].w;
}

static int find_dirs(struct measured *m, struct error **errp)
{
	size_t cap = 0;

	for (uint32_t i = 0; i < tree_nodes(m->tree); i++) {
		struct tree_node n;
		int r = tree_node(m->tree, i, &n, errp);

		if (r < 0)
			return r;
		if (n.kind != TREE_DIR)
			continue;
		ARRAY_GROW(m->dirs, m->n_dirs, cap);
		m->dirs[m->n_dirs++] = (struct measured_dir){.node = i};
	}
	return 0;
}

static int measure_dir(struct measured *m, struct measured_dir *d,
		       uint32_t number, struct top *largest,
		       const struct op *op, struct error **errp)
{
	struct tree_node dir, n;
	int r = tree_node(m->tree, d->node, &dir, errp);

	for (uint32_t k = 0; r == 0 && k < dir.count; k++) {
		uint32_t i = dir.first + k;
		struct weight w;

		r = tree_node(m->tree, i, &n, errp);
		if (r == 0 && n.parent != d->node)
			r = error_set(errp, EBADMSG,
				      "tree: node %u is held twice", i);
		if (r < 0)
			return r;
		measured_node(m, i, &n, &w);
		weight_add(&d->w, &w);
		if (largest && n.kind == TREE_FILE)
			top_offer(largest,
				  &(struct top_item){n.size, number, i});
		if (k % LOOK_EVERY == 0)
			r = op_go_on(op, errp);
	}
	return r;
}

int measure(const struct tree *tree, struct cache *cache, uint32_t number,
	    struct top *largest, struct measured *ret, const struct op *op,
	    struct error **errp)
{
	struct measured m = {.tree = tree};
	int r = measure_sources(&m, cache, op, errp);

	if (r == 0)
		r = find_dirs(&m, errp);
	for (size_t i = m.n_dirs; r == 0 && i > 0; i--)
		r = measure_dir(&m, &m.dirs[i - 1], number, largest, op, errp);
	if (r < 0) {
		measured_release(&m);
		return r;
	}
	*ret = m;
	return 0;
}
