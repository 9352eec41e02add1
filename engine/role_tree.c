#include "engine/role_tree.h"

#include <errno.h>

#include "engine/tree_builder.h"

/* Layers that disagree, or break a rule, cannot have made a bundle; that there
 * is no memory says nothing about them. */
static int judge(int r, struct error **errp)
{
	if (r >= 0 || r == -ENOMEM)
		return r;
	return error_kind(errp, -EBADMSG, ERROR_VALIDATION);
}

static int add_layer(struct tree_merger *m, struct bundle *b, size_t layer,
		     const struct op *op, struct error **errp)
{
	cleanup_tree struct tree *t = NULL;
	int r = bundle_layer_tree(b, layer, op, &t, errp);

	return r < 0 ? r : judge(tree_merger_add(m, t, errp), errp);
}

static int merge(struct bundle *b, const struct root_role *role,
		 const struct op *op, struct digest *ret, struct error **errp)
{
	cleanup_free const char **names =
		xcalloc(role->n_layers, sizeof(*names));
	cleanup_tree_merger struct tree_merger *m = tree_merger_new(names);
	cleanup_free void *buf = NULL;
	size_t len;
	int r;

	for (size_t i = 0; i < role->n_layers; i++)
		names[i] = b->root.layers[role->layers[i]].name;
	for (size_t i = 0; i < role->n_layers; i++) {
		r = add_layer(m, b, role->layers[i], op, errp);
		if (r < 0)
			return r;
	}
	r = judge(tree_merger_finish(m, &buf, &len, errp), errp);
	if (r >= 0)
		*ret = digest_of_buf(buf, len);
	return r;
}

int role_tree_digest(struct bundle *b, const struct root_role *role,
		     const struct op *op, struct digest *ret,
		     struct error **errp)
{
	if (role->n_layers != 1)
		return merge(b, role, op, ret, errp);
	*ret = b->root.layers[role->layers[0]].tree.digest;
	return 0;
}

static int check_layer(struct bundle *b, size_t i, const struct op *op,
		       struct error **errp)
{
	cleanup_tree struct tree *t = NULL;
	int r = bundle_layer_tree(b, i, op, &t, errp);

	if (r >= 0)
		r = tree_validate(t, errp);
	return error_prefix(errp, r, "layer '%s'", b->root.layers[i].name);
}

static int check_role(struct bundle *b, const struct root_role *role,
		      const struct op *op, struct error **errp)
{
	struct digest want;
	int r = role_tree_digest(b, role, op, &want, errp);

	if (r >= 0 && !digest_equal(&want, &role->tree.digest))
		r = error_set(errp, EBADMSG,
			      "its tree is not the union of its layers");
	return error_prefix(errp, r, "role '%s'", role->name);
}

int role_trees_check(struct bundle *b, const struct op *op, struct error **errp)
{
	const struct root *root = &b->root;
	int r = 0;

	for (size_t i = 0; i < root->n_layers && r >= 0; i++)
		r = check_layer(b, i, op, errp);
	for (size_t i = 0; i < root->n_roles && r >= 0; i++) {
		r = op_go_on(op, errp);
		if (r >= 0)
			r = check_role(b, &root->roles[i], op, errp);
	}
	return r < 0 ? r : 0;
}
