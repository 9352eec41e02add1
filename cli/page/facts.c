#include "cli/page/facts.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "cli/page/sections.h"

struct gathering {
	struct facts *f;
	struct cache *cache;
	const struct op *op;
};

void facts_release(struct facts *f)
{
	free(f->layers);
	free(f->roles);
	top_release(&f->largest);
	for (size_t i = 0; i < PAGE_LARGEST; i++)
		strbuf_release(&f->rows[i]);
	treemap_release(&f->map);
	strbuf_release(&f->cells);
	*f = (struct facts){0};
}

static int measure_layer(struct gathering *g, uint32_t i, struct top *largest,
			 struct tree **ret_tree, struct measured *ret,
			 struct error **errp)
{
	int r = bundle_layer_tree(g->f->bundle, i, g->op, ret_tree, errp);

	return r < 0 ? r
		     : measure(*ret_tree, g->cache, i, largest, ret, g->op,
			       errp);
}

static int weigh_layer(struct gathering *g, uint32_t i, struct error **errp)
{
	cleanup_tree struct tree *tree = NULL;
	cleanup_measured struct measured m = {0};
	int r = measure_layer(g, i, &g->f->largest, &tree, &m, errp);

	if (r < 0)
		return r;
	g->f->layers[i] = *measured_total(&m);
	weight_add(&g->f->all, &g->f->layers[i]);
	return 0;
}

static int draw_layer(struct gathering *g, uint32_t i, struct error **errp)
{
	struct facts *f = g->f;
	const char *name = f->bundle->root.layers[i].name;
	cleanup_tree struct tree *tree = NULL;
	cleanup_measured struct measured m = {0};
	int r = measure_layer(g, i, NULL, &tree, &m, errp);

	if (r == 0)
		r = treemap_draw(&f->map, i, name, &m, &f->cells, errp);
	for (size_t k = 0; r == 0 && k < f->largest.n; k++)
		if (f->largest.v[k].tree == i)
			r = section_file(&f->rows[k], name, &m,
					 f->largest.v[k].node, errp);
	return r;
}

/* A role of one layer has that layer's tree. */
static int weigh_role(struct gathering *g, size_t i, struct error **errp)
{
	struct facts *f = g->f;
	const struct root_role *role = &f->bundle->root.roles[i];
	cleanup_role_view struct role_view *v = NULL;
	cleanup_measured struct measured m = {0};
	int r;

	if (role->n_layers == 1) {
		f->roles[i] = f->layers[role->layers[0]];
		return 0;
	}
	r = role_view_open(f->bundle, role, g->op, &v, errp);
	if (r == 0)
		r = measure(v->tree, g->cache, 0, NULL, &m, g->op, errp);
	if (r == 0)
		f->roles[i] = *measured_total(&m);
	return r;
}

static int gather_all(struct gathering *g, struct error **errp)
{
	struct facts *f = g->f;
	const struct root *root = &f->bundle->root;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < root->n_layers; i++)
		r = weigh_layer(g, i, errp);
	for (size_t i = 0; r == 0 && i < root->n_roles; i++)
		r = weigh_role(g, i, errp);
	if (r < 0)
		return r;
	top_sort(&f->largest);
	treemap_init(&f->map, f->layers, root->n_layers);
	for (uint32_t i = 0; r == 0 && i < root->n_layers; i++)
		r = draw_layer(g, i, errp);
	return r;
}

int facts_gather(struct run *run, struct bundle *b, struct facts *ret,
		 struct error **errp)
{
	cleanup_facts struct facts f = {.bundle = b};
	struct gathering g = {.f = &f, .op = &run->op};
	int r = session_cache(run->session, &g.cache, errp);

	if (r < 0)
		return r;
	top_init(&f.largest, PAGE_LARGEST);
	f.layers = xcalloc(b->root.n_layers, sizeof(*f.layers));
	f.roles = xcalloc(b->root.n_roles, sizeof(*f.roles));
	r = gather_all(&g, errp);
	if (r < 0)
		return r;
	*ret = f;
	f = (struct facts){0};
	return 0;
}
