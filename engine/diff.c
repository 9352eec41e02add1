/* Both trees at once, folder by folder: the names of each rise. */
#include "engine/diff.h"

#include <errno.h>
#include <string.h>

#include "engine/diff_internal.h"
#include "engine/tree_builder.h"

struct differ {
	const struct tree *a, *b;
	struct diff *out;
	size_t cap;
};

const char *diff_kind_name(enum diff_kind kind)
{
	static const char *const names[DIFF_KINDS] = {
		[DIFF_ADDED] = "added",       [DIFF_REMOVED] = "removed",
		[DIFF_MODIFIED] = "modified", [DIFF_RENAMED] = "renamed",
		[DIFF_MODE] = "mode",
	};

	return names[kind];
}

/* Child @i of folder @dir. */
static int child(const struct tree *t, uint32_t dir, uint32_t i,
		 struct tree_node *ret, struct error **errp)
{
	int r = tree_node(t, i, ret, errp);

	if (r == 0 && ret->parent != dir)
		return error_set(errp, EBADMSG, "tree: node %u is held twice",
				 i);
	return r;
}

static void note(struct differ *d, enum diff_kind kind, uint32_t a, uint32_t b)
{
	struct diff *out = d->out;

	ARRAY_GROW(out->changes, out->n, d->cap);
	out->changes[out->n++] = (struct diff_change){kind, a, b};
}

/* Entry @i and what is below it is on one side alone. */
static int one_side(struct differ *d, enum diff_kind kind, uint32_t i,
		    const struct tree_node *n, struct error **errp)
{
	const struct tree *t = kind == DIFF_ADDED ? d->b : d->a;
	int r = 0;

	if (n->kind != TREE_DIR || !n->count) {
		if (kind == DIFF_ADDED)
			note(d, kind, TREE_NONE, i);
		else
			note(d, kind, i, TREE_NONE);
		return 0;
	}
	for (uint32_t k = 0; r == 0 && k < n->count; k++) {
		struct tree_node below;

		r = child(t, i, n->first + k, &below, errp);
		if (r == 0)
			r = one_side(d, kind, n->first + k, &below, errp);
	}
	return r;
}

static bool same_content(const struct tree_node *x, const struct tree_node *y)
{
	if (x->kind != y->kind)
		return false;
	if (x->kind == TREE_SYMLINK)
		return x->target_len == y->target_len &&
		       memcmp(x->target, y->target, x->target_len) == 0;
	return x->size == y->size && digest_equal(x->digest, y->digest);
}

static uint64_t size_of(const struct tree_node *n)
{
	return n->kind == TREE_FILE ? n->size : 0;
}

static void same(struct differ *d, const struct tree_node *x,
		 const struct tree_node *y)
{
	d->out->same.entries++;
	d->out->same.a_bytes += size_of(x);
	d->out->same.b_bytes += size_of(y);
}

static int folders(struct differ *d, uint32_t a, const struct tree_node *x,
		   uint32_t b, const struct tree_node *y, struct error **errp);

/* Entries of one name in the same folder. */
static int pair(struct differ *d, uint32_t a, const struct tree_node *x,
		uint32_t b, const struct tree_node *y, struct error **errp)
{
	int r = 0;

	if (x->kind == TREE_DIR && y->kind == TREE_DIR)
		return folders(d, a, x, b, y, errp);
	if (x->kind == TREE_DIR || y->kind == TREE_DIR) {
		r = one_side(d, DIFF_REMOVED, a, x, errp);
		return r < 0 ? r : one_side(d, DIFF_ADDED, b, y, errp);
	}
	if (!same_content(x, y))
		note(d, DIFF_MODIFIED, a, b);
	else if (x->executable != y->executable)
		note(d, DIFF_MODE, a, b);
	else
		same(d, x, y);
	return 0;
}

static int name_cmp(const struct tree_node *x, const struct tree_node *y)
{
	int c = memcmp(x->name, y->name, MIN(x->name_len, y->name_len));

	return c ? c : (int)x->name_len - (int)y->name_len;
}

/* No deeper than the format lets a tree be. */
static int folders(struct differ *d, uint32_t a, const struct tree_node *x,
		   uint32_t b, const struct tree_node *y, struct error **errp)
{
	uint32_t i = 0, k = 0;
	int r = 0;

	if (!x->count && !y->count)
		same(d, x, y);
	while (r == 0 && (i < x->count || k < y->count)) {
		uint32_t ai = x->first + i, bk = y->first + k;
		struct tree_node p = {0}, q = {0};
		int c;

		if (i < x->count)
			r = child(d->a, a, ai, &p, errp);
		if (r == 0 && k < y->count)
			r = child(d->b, b, bk, &q, errp);
		if (r < 0)
			break;
		c = i == x->count ? 1 : k == y->count ? -1 : name_cmp(&p, &q);
		if (c < 0)
			r = one_side(d, DIFF_REMOVED, ai, &p, errp);
		else if (c > 0)
			r = one_side(d, DIFF_ADDED, bk, &q, errp);
		else
			r = pair(d, ai, &p, bk, &q, errp);
		i += c <= 0;
		k += c >= 0;
	}
	return r;
}

/*
 * Sums.
 */

static int size_at(const struct tree *t, uint32_t i, uint64_t *ret,
		   struct error **errp)
{
	struct tree_node n;
	int r;

	*ret = 0;
	if (i == TREE_NONE)
		return 0;
	r = tree_node(t, i, &n, errp);
	if (r == 0)
		*ret = size_of(&n);
	return r;
}

static int sum(const struct differ *d, struct error **errp)
{
	struct diff *out = d->out;

	out->a.entries = out->b.entries = out->same.entries;
	out->a.a_bytes = out->same.a_bytes;
	out->b.b_bytes = out->same.b_bytes;
	for (size_t i = 0; i < out->n; i++) {
		const struct diff_change *c = &out->changes[i];
		struct diff_sum *s = &out->sums[c->kind];
		uint64_t a = 0, b = 0;
		int r = size_at(d->a, c->a, &a, errp);

		if (r == 0)
			r = size_at(d->b, c->b, &b, errp);
		if (r < 0)
			return r;
		s->entries++;
		s->a_bytes += a;
		s->b_bytes += b;
		out->a.entries += c->a != TREE_NONE;
		out->a.a_bytes += a;
		out->b.entries += c->b != TREE_NONE;
		out->b.b_bytes += b;
	}
	return 0;
}

int diff_trees(const struct tree *a, const struct tree *b, struct diff *ret,
	       struct error **errp)
{
	cleanup_diff struct diff out = {0};
	struct differ d = {.a = a, .b = b, .out = &out};
	struct tree_node x, y;
	int r = tree_node(a, TREE_ROOT, &x, errp);

	if (r == 0)
		r = tree_node(b, TREE_ROOT, &y, errp);
	if (r == 0)
		r = folders(&d, TREE_ROOT, &x, TREE_ROOT, &y, errp);
	if (r == 0)
		r = diff_find_renames(a, b, &out, errp);
	if (r == 0)
		r = sum(&d, errp);
	if (r < 0)
		return r;
	*ret = out;
	out = (struct diff){0};
	return 0;
}

void diff_release(struct diff *d)
{
	free(d->changes);
	*d = (struct diff){0};
}
