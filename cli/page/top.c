#include "cli/page/top.h"

#include <stdlib.h>

#include "base/alloc.h"

void top_init(struct top *t, size_t max)
{
	*t = (struct top){.v = xcalloc(max, sizeof(*t->v)), .max = max};
}

void top_release(struct top *t)
{
	free(t->v);
	*t = (struct top){0};
}

/* Negative: @a comes first. */
static int compare(const void *a, const void *b)
{
	const struct top_item *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	if (x->tree != y->tree)
		return x->tree < y->tree ? -1 : 1;
	return (x->node > y->node) - (x->node < y->node);
}

static void swap(struct top_item *a, struct top_item *b)
{
	struct top_item t = *a;

	*a = *b;
	*b = t;
}

/* The last of those that are kept is on top of the heap. */
static void sift_down(struct top *t)
{
	size_t i = 0;

	for (;;) {
		size_t last = i, l = 2 * i + 1;

		for (size_t k = l; k < t->n && k <= l + 1; k++)
			if (compare(&t->v[k], &t->v[last]) > 0)
				last = k;
		if (last == i)
			return;
		swap(&t->v[i], &t->v[last]);
		i = last;
	}
}

static void sift_up(struct top *t, size_t i)
{
	while (i && compare(&t->v[i], &t->v[(i - 1) / 2]) > 0) {
		swap(&t->v[i], &t->v[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
}

void top_offer(struct top *t, const struct top_item *item)
{
	if (!item->bytes)
		return;
	if (t->n < t->max) {
		t->v[t->n] = *item;
		sift_up(t, t->n++);
	} else if (compare(item, &t->v[0]) < 0) {
		t->v[0] = *item;
		sift_down(t);
	}
}

void top_sort(struct top *t)
{
	if (t->n)
		qsort(t->v, t->n, sizeof(*t->v), compare);
}
