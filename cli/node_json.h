/* An entry of a tree as JSON: what ls and diff say of one alike. */
#ifndef CLI_NODE_JSON_H
#define CLI_NODE_JSON_H

#include "base/json.h"
#include "engine/bundle.h"

/* Borrowed from the bundle of @v; NULL for a folder, which may be of several. */
const char *node_layer(const struct role_view *v, const struct tree_node *n);

/* What is NULL of @layer, @path and @place is left out. */
void node_json(struct json_writer *w, const char *key,
	       const struct tree_node *n, const char *layer, const char *path,
	       const char *place);

#endif
