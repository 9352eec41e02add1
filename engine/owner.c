#include "engine/owner.h"

#include "base/alloc.h"
#include "engine/glob.h"

struct globs {
	struct glob **list;
	size_t n;
};

struct owners {
	struct owned_layer {
		struct globs paths, ignore;
	} * layers;
	size_t n;
};

static int compile(char *const *patterns, struct globs *ret,
		   struct error **errp)
{
	size_t n = patterns ? strv_len(patterns) : 0;

	ret->list = xcalloc(n ? n : 1, sizeof(struct glob *));
	for (; ret->n < n; ret->n++) {
		int r = glob_compile(patterns[ret->n], &ret->list[ret->n],
				     errp);

		if (r < 0)
			return r;
	}
	return 0;
}

static bool any_matches(const struct globs *g, const char *path, size_t n)
{
	for (size_t i = 0; i < g->n; i++)
		if (glob_match(g->list[i], path, n))
			return true;
	return false;
}

static void globs_release(struct globs *g)
{
	for (size_t i = 0; i < g->n; i++)
		glob_free(g->list[i]);
	free(g->list);
}

int owners_new(const struct bundle_file *bf, struct owners **ret,
	       struct error **errp)
{
	cleanup_owners struct owners *o = xcalloc(1, sizeof(*o));
	int r = 0;

	o->layers = xcalloc(bf->n_layers, sizeof(*o->layers));
	while (o->n < bf->n_layers && r == 0) {
		struct owned_layer *l = &o->layers[o->n];

		r = compile(bf->layers[o->n].paths, &l->paths, errp);
		if (r == 0)
			r = compile(bf->layers[o->n].ignore, &l->ignore, errp);
		o->n++;
	}
	if (r < 0)
		return r;
	*ret = steal_ptr(&o);
	return 0;
}

int owners_find(const struct owners *o, const char *path, size_t n)
{
	for (size_t i = 0; i < o->n; i++) {
		if (!any_matches(&o->layers[i].paths, path, n))
			continue;
		return any_matches(&o->layers[i].ignore, path, n)
			       ? OWNER_LEFT_OUT
			       : (int)i;
	}
	return OWNER_NONE;
}

void owners_free(struct owners *o)
{
	for (size_t i = 0; i < o->n; i++) {
		globs_release(&o->layers[i].paths);
		globs_release(&o->layers[i].ignore);
	}
	free(o->layers);
	free(o);
}
