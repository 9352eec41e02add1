#include "engine/role_tree.h"

#include <errno.h>

#include "engine/tree_builder.h"

static int merge(const struct root *root, const struct root_role *role,
		 struct tree *const *trees, struct digest *ret,
		 struct error **errp)
{
	size_t room = (role->n_layers + 1) * sizeof(void *);
	cleanup_free struct tree **layers = xmalloc(room);
	cleanup_free const char **names = xmalloc(room);
	cleanup_free void *buf = NULL;
	size_t len;
	int r;

	for (size_t i = 0; i < role->n_layers; i++) {
		layers[i] = trees[role->layers[i]];
		names[i] = root->layers[role->layers[i]].name;
		if (!layers[i])
			return error_set(errp, EIO, "layer '%s' is missing",
					 names[i]);
	}
	r = tree_merge(layers, names, role->n_layers, &buf, &len, errp);
	if (r >= 0)
		*ret = digest_of_buf(buf, len);
	return r;
}

int role_tree_digest(const struct root *root, const struct root_role *role,
		     struct tree *const *layers, struct digest *ret,
		     struct error **errp)
{
	if (role->n_layers != 1)
		return merge(root, role, layers, ret, errp);
	*ret = root->layers[role->layers[0]].tree.digest;
	return 0;
}

static int check_role(const struct bundle *b, const struct root_role *role,
		      struct tree *const *layers, struct error **errp)
{
	struct digest want;
	int r = role_tree_digest(&b->root, role, layers, &want, errp);

	/* Layers that disagree cannot have made a bundle. */
	if (r < 0)
		r = error_kind(errp, -EBADMSG, ERROR_VALIDATION);
	else if (!digest_equal(&want, &role->tree.digest))
		r = error_set(errp, EBADMSG,
			      "its tree is not the union of its layers");
	return error_prefix(errp, r, "role '%s'", role->name);
}

static int check_all(struct bundle *b, struct tree **layers,
		     const struct op *op, struct error **errp)
{
	const struct root *root = &b->root;
	int r = 0;

	for (size_t i = 0; i < root->n_layers && r >= 0; i++) {
		r = bundle_layer_tree(b, i, op, &layers[i], errp);
		if (r >= 0)
			r = tree_validate(layers[i], errp);
		error_prefix(errp, r, "layer '%s'", root->layers[i].name);
	}
	for (size_t i = 0; i < root->n_roles && r >= 0; i++) {
		r = op_go_on(op, errp);
		if (r >= 0)
			r = check_role(b, &root->roles[i], layers, errp);
	}
	return r < 0 ? r : 0;
}

int role_trees_check(struct bundle *b, const struct op *op, struct error **errp)
{
	size_t n = b->root.n_layers;
	struct tree **layers = xcalloc(n + 1, sizeof(*layers));
	int r = check_all(b, layers, op, errp);

	for (size_t i = 0; i < n; i++)
		tree_closep(&layers[i]);
	free(layers);
	return r;
}
