/* What stands in the template's places. */
#ifndef CLI_PAGE_SECTIONS_H
#define CLI_PAGE_SECTIONS_H

#include "base/strbuf.h"
#include "cli/page/facts.h"

typedef int section_fn(struct strbuf *out, const struct facts *f,
		       struct error **errp);

section_fn section_title, section_head, section_totals, section_treemap,
	section_layers, section_roles, section_largest, section_blobs,
	section_foot;

/* A row of the largest files: node @i of a layer. */
int section_file(struct strbuf *out, const char *layer,
		 const struct measured *m, uint32_t i, struct error **errp);

#endif
