/*
 * A squarified treemap as SVG: what is in the layers, by size. It has a bounded
 * number of cells; what gets none is folded into one for the rest of its
 * folder.
 */
#ifndef CLI_PAGE_TREEMAP_H
#define CLI_PAGE_TREEMAP_H

#include "base/strbuf.h"
#include "cli/page/measure.h"

#define TREEMAP_HEIGHT 560 /* pixels; as wide as the page */

struct treemap {
	struct part *parts; /* a layer each, as they are drawn */
	size_t n;
	uint64_t bytes;
	uint64_t cells;
	uint64_t shown;  /* files with a cell of their own */
	uint64_t folded; /* files without: in cells of others, or empty */
};

/* The layers' places, by what they weigh. */
void treemap_init(struct treemap *t, const struct weight *layers, size_t n);
void treemap_release(struct treemap *t);
#define cleanup_treemap __attribute__((cleanup(treemap_release)))

/* The cells of layer @i, to stand in an svg element of that height. */
int treemap_draw(struct treemap *t, size_t i, const char *name,
		 const struct measured *m, struct strbuf *out,
		 struct error **errp);

#endif
