/*
 * Renames: what was removed and what was added, each sorted by content, then by
 * name, then as it came. Of each content those that keep their name are paired
 * first, what is left in order.
 */
#include <string.h>

#include "engine/diff_internal.h"

struct candidate {
	struct tree_node node;
	uint32_t i;
	size_t change;
	bool taken;
};

struct candidates {
	struct candidate *v;
	size_t n, cap;
};

static void candidates_release(struct candidates *c)
{
	free(c->v);
}
#define cleanup_candidates __attribute__((cleanup(candidates_release)))

static int collect(const struct tree *t, const struct diff *d,
		   enum diff_kind kind, struct candidates *ret,
		   struct error **errp)
{
	for (size_t k = 0; k < d->n; k++) {
		const struct diff_change *c = &d->changes[k];
		struct candidate one = {.change = k};
		int r;

		if (c->kind != kind)
			continue;
		one.i = kind == DIFF_ADDED ? c->b : c->a;
		r = tree_node(t, one.i, &one.node, errp);
		if (r < 0)
			return r;
		if (one.node.kind != TREE_FILE || !one.node.size)
			continue;
		ARRAY_GROW(ret->v, ret->n, ret->cap);
		ret->v[ret->n++] = one;
	}
	return 0;
}

static int by_content(const struct candidate *x, const struct candidate *y)
{
	int c = memcmp(x->node.digest, y->node.digest, sizeof(struct digest));

	if (c)
		return c;
	return x->node.size < y->node.size ? -1 : x->node.size > y->node.size;
}

static int by_name(const struct candidate *x, const struct candidate *y)
{
	const struct tree_node *p = &x->node, *q = &y->node;
	int c = memcmp(p->name, q->name, MIN(p->name_len, q->name_len));

	return c ? c : (int)p->name_len - (int)q->name_len;
}

static int by_turn(const struct candidate *x, const struct candidate *y)
{
	return x->change < y->change ? -1 : x->change > y->change;
}

static int compare_named(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	int c = by_content(x, y);

	c = c ? c : by_name(x, y);
	return c ? c : by_turn(x, y);
}

static int compare_turns(const void *a, const void *b)
{
	int c = by_content(a, b);

	return c ? c : by_turn(a, b);
}

static void pair(struct diff *d, struct candidate *gone, struct candidate *new)
{
	gone->taken = new->taken = true;
	d->changes[new->change].kind = DIFF_RENAMED;
	d->changes[new->change].a = gone->i;
	d->changes[gone->change].kind = DIFF_KINDS; /* dropped below */
}

static void match(struct diff *d, struct candidates *gone,
		  struct candidates *new, bool named)
{
	int (*order)(const void *, const void *) =
		named ? compare_named : compare_turns;
	size_t i = 0, k = 0;

	if (!gone->n || !new->n)
		return;
	qsort(gone->v, gone->n, sizeof(*gone->v), order);
	qsort(new->v, new->n, sizeof(*new->v), order);
	while (i < gone->n && k < new->n) {
		struct candidate *x = &gone->v[i], *y = &new->v[k];
		int c = by_content(x, y);

		if (!c && named)
			c = by_name(x, y);
		if (x->taken || c < 0) {
			i++;
		} else if (y->taken || c > 0) {
			k++;
		} else {
			pair(d, x, y);
			i++;
			k++;
		}
	}
}

static void drop_paired(struct diff *d)
{
	size_t kept = 0;

	for (size_t i = 0; i < d->n; i++)
		if (d->changes[i].kind != DIFF_KINDS)
			d->changes[kept++] = d->changes[i];
	d->n = kept;
}

int diff_find_renames(const struct tree *a, const struct tree *b,
		      struct diff *d, struct error **errp)
{
	cleanup_candidates struct candidates gone = {0}, new = {0};
	int r = collect(a, d, DIFF_REMOVED, &gone, errp);

	if (r == 0)
		r = collect(b, d, DIFF_ADDED, &new, errp);
	if (r < 0)
		return r;
	match(d, &gone, &new, true);
	match(d, &gone, &new, false);
	drop_paired(d);
	return 0;
}
