/*
 * Everything that a reader does with a tree, on bytes that may be anything; the
 * merge and the comparison with itself too. A tree that is valid has no record that is refused, and merging it
 * alone gives the same bytes: there is one encoding.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "engine/diff.h"
#include "engine/tree.h"
#include "engine/tree_builder.h"
#include "tests/fuzz/fuzz.h"

struct seen {
	uint64_t sum; /* reads every byte that is handed out */
	uint32_t nodes;
	bool refused;
	bool layered; /* some node is not of layer 0 */
};

static void add(struct seen *s, const void *p, size_t n)
{
	const unsigned char *c = p;

	while (n--)
		s->sum += *c++;
}

static int visit(void *ctx, uint32_t node, const struct tree_node *n,
		 const char *path, struct error **errp)
{
	struct seen *s = ctx;

	add(s, path, strlen(path));
	s->nodes++;
	return 0;
}

static void use_node(const struct tree *t, uint32_t i, struct seen *s)
{
	cleanup_strbuf struct strbuf path = STRBUF_INIT;
	struct tree_node n;
	uint32_t found = 0;

	if (tree_node(t, i, &n, NULL) < 0) {
		s->refused = true;
		return;
	}
	add(s, n.name, n.name_len);
	if (n.kind == TREE_SYMLINK)
		add(s, n.target, n.target_len);
	s->layered |= n.layer != 0;
	if (i && tree_lookup(t, n.parent, n.name, n.name_len, &found, NULL) < 0)
		s->refused = true;
	if (tree_path(t, i, &path, NULL) < 0 ||
	    tree_find(t, strbuf_str(&path), &found, NULL) < 0)
		s->refused = true;
}

static void use_source(const struct tree *t, uint32_t i, struct seen *s)
{
	struct tree_source src;
	struct digest d;
	uint64_t size;

	if (tree_source(t, i, &src, NULL) < 0) {
		s->refused = true;
		return;
	}
	add(s, src.chunks, src.n_chunks * sizeof(*src.chunks));
	add(s, src.uri, src.uri_len);
	for (uint32_t k = 0; k < src.n_parts; k++)
		if (tree_source_part(t, i, k, &d, &size, NULL) < 0)
			s->refused = true;
}

static void check_merge(struct tree *t, const void *p, size_t n, bool same)
{
	const char *name = "layer";
	cleanup_free void *buf = NULL;
	size_t len = 0;
	int r = tree_merge(&t, &name, 1, &buf, &len, NULL);

	if (!same)
		return;
	if (r < 0 || len != n || memcmp(buf, p, n) != 0)
		abort();
}

/* Between a tree and itself there is nothing. */
static void check_diff(const struct tree *t, bool valid)
{
	cleanup_diff struct diff same = {0};
	int r = diff_trees(t, t, &same, NULL);

	if (valid && r < 0)
		abort();
	if (r == 0 && (same.n || same.a.entries != same.same.entries))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_free void *exact = xmemdup(data, size); /* aligned */
	cleanup_tree struct tree *t = NULL;
	struct seen s = {0};
	bool valid, known;

	if (tree_open_mem(exact, size, &t, NULL) < 0)
		return 0;
	for (uint32_t i = 0; i < tree_nodes(t); i++)
		use_node(t, i, &s);
	for (uint32_t i = 0; i < tree_source_records(t);
	     i = tree_next_source(t, i))
		use_source(t, i, &s);
	if (tree_walk(t, TREE_ROOT, visit, &s, NULL) < 0)
		s.refused = true;
	assert(s.nodes < tree_nodes(t));
	valid = tree_validate(t, NULL) == 0;
	assert(!valid || (!s.refused && s.nodes == tree_nodes(t) - 1));
	/* Unknown features are skipped, and not written again. */
	check_diff(t, valid);
	known = !memcmp(data + 24, "\0\0\0\0\0\0\0\0\4\0\0\0", 12);
	check_merge(t, exact, size, valid && known && !s.layered);
	return 0;
}
