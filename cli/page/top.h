/* The largest of many, kept in a heap of so many. */
#ifndef CLI_PAGE_TOP_H
#define CLI_PAGE_TOP_H

#include <stddef.h>
#include <stdint.h>

struct top_item {
	uint64_t bytes;
	uint32_t tree; /* whose node it is: a number of the caller's */
	uint32_t node;
};

struct top {
	struct top_item *v;
	size_t n, max;
};

/* @max > 0 */
void top_init(struct top *t, size_t max);
void top_release(struct top *t);
#define cleanup_top __attribute__((cleanup(top_release)))

/* What has no bytes is not kept. */
void top_offer(struct top *t, const struct top_item *item);
/* Largest first, equal ones in the order of tree and node. Then none is offered
 * any more. */
void top_sort(struct top *t);

#endif
