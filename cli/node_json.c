#include "cli/node_json.h"

#include "base/alloc.h"

const char *node_layer(const struct role_view *v, const struct tree_node *n)
{
	if (n->kind == TREE_DIR)
		return NULL;
	return v->bundle->root.layers[v->role->layers[n->layer]].name;
}

void node_json(struct json_writer *w, const char *key,
	       const struct tree_node *n, const char *layer, const char *path,
	       const char *place)
{
	static const char *const kinds[] = {
		[TREE_DIR] = "dir",
		[TREE_FILE] = "file",
		[TREE_SYMLINK] = "symlink",
	};

	json_begin_object(w, key);
	if (n->kind == TREE_FILE)
		json_put_str(w, "digest", digest_to_str(n->digest).str);
	json_put_bool(w, "executable", n->executable);
	json_put_str(w, "kind", kinds[n->kind]);
	if (layer)
		json_put_str(w, "layer", layer);
	if (path)
		json_put_str(w, "path", path);
	if (place)
		json_put_str(w, "place", place);
	if (n->kind == TREE_FILE)
		json_put_int(w, "size", (int64_t)n->size);
	if (n->kind == TREE_SYMLINK) {
		cleanup_free char *target = xstrndup(n->target, n->target_len);

		json_put_str(w, "target", target);
	}
	json_end_object(w);
}
