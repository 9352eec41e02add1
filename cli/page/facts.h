/*
 * What a page says of a bundle, from the trees of its layers and roles. One
 * tree is open at a time: those of the layers twice, for where a layer's place
 * on the map is depends on all of them.
 */
#ifndef CLI_PAGE_FACTS_H
#define CLI_PAGE_FACTS_H

#include "cli/page/treemap.h"
#include "cli/run.h"

#define PAGE_LARGEST 40

struct facts {
	struct bundle *bundle;
	struct weight *layers;            /* as the root's */
	struct weight *roles;             /* as the root's: what each shows */
	struct weight all;                /* of the layers */
	struct top largest;               /* sorted; tree: the layer */
	struct strbuf rows[PAGE_LARGEST]; /* of a table, for each of these */
	struct treemap map;
	struct strbuf cells; /* of the map */
};

int facts_gather(struct run *run, struct bundle *b, struct facts *ret,
		 struct error **errp);
void facts_release(struct facts *f);
#define cleanup_facts __attribute__((cleanup(facts_release)))

#endif
