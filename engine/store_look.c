#include "engine/store_look.h"

#include <errno.h>

#include "base/map.h"

struct look {
	struct bundle *b;
	const struct op *op;
	struct map seen; /* stores that were asked */
	void (*each)(void *ctx, const struct store_look *l);
	void *ctx;
};

/* What has a name, and rights, of its own. Heap. */
static char *store_of(const struct pointer_uri *u)
{
	const char *scheme = uri_scheme_name(u->scheme);

	if (u->account)
		return xasprintf("%s://%s/%s", scheme, u->account,
				 u->container);
	return xasprintf("%s://%s", scheme, u->container ? u->container : "");
}

static int ask(const struct look *l, const struct pointer_uri *uri,
	       uint64_t size, struct error **errp)
{
	struct object_store *store =
		object_stores_for(l->b->remote.stores, uri, errp);
	struct object_info info = {0};
	int r;

	if (!store)
		return -EPROTONOSUPPORT;
	r = store->ops->stat(store, uri, &info, l->op, errp);
	if (r < 0 || info.size == size)
		return r;
	return error_set(errp, ESTALE,
			 "it is another object than was pinned, by its size");
}

static void look_at(struct look *l, const struct tree_source *src)
{
	cleanup_pointer_uri struct pointer_uri uri = {0};
	cleanup_error struct error *err = NULL;
	cleanup_free char *text = xstrndup(src->uri, src->uri_len);
	cleanup_free char *store = NULL;

	/* Trees hold normal forms alone: what opened one has checked that. */
	if (pointer_uri_parse(src->uri, src->uri_len, &uri, NULL) < 0)
		return;
	store = store_of(&uri);
	if (map_put_str(&l->seen, store, l))
		return;
	(void)ask(l, &uri, src->size, &err);
	l->each(l->ctx, &(struct store_look){store, text, err});
}

static int look_at_tree(struct look *l, const struct tree *t,
			struct error **errp)
{
	uint32_t records = tree_source_records(t);
	int r = 0;

	for (uint32_t i = 0; i < records && r == 0;
	     i = tree_next_source(t, i)) {
		struct tree_source src;

		r = tree_source(t, i, &src, errp);
		if (r == 0 && src.kind == TREE_SOURCE_EXTERNAL)
			look_at(l, &src);
		if (r == 0)
			r = op_go_on(l->op, errp);
	}
	return r;
}

int bundle_look_at_stores(struct bundle *b, const struct op *op,
			  void (*each)(void *ctx, const struct store_look *l),
			  void *ctx, struct error **errp)
{
	struct look l = {.b = b, .op = op, .each = each, .ctx = ctx};
	int r = 0;

	for (size_t i = 0; i < b->root.n_layers && r >= 0; i++) {
		cleanup_tree struct tree *t = NULL;

		if (!b->remote.stores || !b->root.layers[i].bytes_external)
			continue;
		r = bundle_layer_tree(b, i, op, &t, errp);
		if (r >= 0)
			r = look_at_tree(&l, t, errp);
	}
	map_release(&l.seen);
	return r;
}
