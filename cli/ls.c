#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "base/escape.h"
#include "cli/artifact.h"
#include "cli/node_json.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/verbs.h"

const struct arg_option options_ls[] = {
	{"long", 'l', NULL, false, "mode, size, layer and place, too"},
	{"recursive", 'R', NULL, false, "everything below"},
	{0},
};

struct lister {
	const struct role_view *v;
	bool is_long;
	struct json_writer *w; /* NULL: text */
	struct strbuf *doc;    /* what it writes to */
};

static const char *place(const struct lister *l, const struct tree_node *n)
{
	static const char *const names[] = {
		[TREE_SOURCE_BLOB] = "blob",
		[TREE_SOURCE_RUN] = "parts",
		[TREE_SOURCE_PACK] = "pack",
		[TREE_SOURCE_EXTERNAL] = "external",
	};
	struct tree_source s;

	if (n->kind != TREE_FILE || n->source == TREE_NONE ||
	    tree_source(l->v->tree, n->source, &s, NULL) < 0)
		return "tree";
	return names[s.kind];
}

static void print_node(const struct lister *l, const struct tree_node *n,
		       const char *path)
{
	static const char modes[][11] = {
		[TREE_DIR] = "drwxr-xr-x",
		[TREE_FILE] = "-rw-r--r--",
		[TREE_SYMLINK] = "lrwxrwxrwx",
	};
	const char *mode = n->executable ? "-rwxr-xr-x" : modes[n->kind];

	if (!l->is_long)
		print_line(stdout, "%s%s", path,
			   n->kind == TREE_DIR ? "/" : "");
	else if (n->kind == TREE_SYMLINK)
		print_line(stdout, "%s %12d %-10s %-8s %s -> %.*s", mode, 0,
			   node_layer(l->v, n), place(l, n), path,
			   (int)n->target_len, n->target);
	else
		print_line(stdout, "%s %12llu %-10s %-8s %s", mode,
			   (unsigned long long)(n->kind == TREE_FILE ? n->size
								     : 0),
			   n->kind == TREE_DIR ? "-" : node_layer(l->v, n),
			   place(l, n), path);
}

static int list_node(void *ctx, uint32_t i, const struct tree_node *n,
		     const char *path, struct error **errp)
{
	const struct lister *l = ctx;

	(void)i;
	(void)errp;
	if (!l->w) {
		print_node(l, n, path);
		return 0;
	}
	node_json(l->w, NULL, n, node_layer(l->v, n), path, place(l, n));
	output_json_part(l->doc);
	return 0;
}

/* One folder, or one file. */
static int list_flat(struct lister *l, uint32_t i, const char *path,
		     struct error **errp)
{
	struct tree_node dir, n;
	int r = tree_node(l->v->tree, i, &dir, errp);

	if (r < 0)
		return r;
	if (dir.kind != TREE_DIR)
		return list_node(l, i, &dir, path, errp);
	for (uint32_t k = 0; r == 0 && k < dir.count; k++) {
		cleanup_strbuf struct strbuf at = STRBUF_INIT;

		r = tree_node(l->v->tree, dir.first + k, &n, errp);
		if (r == 0)
			r = tree_path(l->v->tree, dir.first + k, &at, errp);
		if (r == 0)
			r = list_node(l, dir.first + k, &n, strbuf_str(&at),
				      errp);
	}
	return r;
}

static int list(struct lister *l, const char *path, bool recursive,
		struct error **errp)
{
	struct tree_node n;
	uint32_t i;
	int r = tree_find(l->v->tree, path, &i, errp);

	if (r == -ENOENT || r == -ENOTDIR)
		return error_kind(errp, r, ERROR_NOT_FOUND);
	if (r == 0)
		r = tree_node(l->v->tree, i, &n, errp);
	if (r < 0)
		return r;
	return recursive && n.kind == TREE_DIR
		       ? tree_walk(l->v->tree, i, list_node, l, errp)
		       : list_flat(l, i, path, errp);
}

static int list_json(struct lister *l, const char *path, bool recursive,
		     struct error **errp)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;
	int r;

	json_writer_init(&w, &doc);
	l->w = &w;
	l->doc = &doc;
	json_begin_object(&w, NULL);
	json_put_str(&w, "digest", digest_to_str(&l->v->bundle->digest).str);
	json_begin_array(&w, "entries");
	r = list(l, path, recursive, errp);
	if (r < 0)
		return r;
	json_end_array(&w);
	json_put_str(&w, "role", l->v->role->name);
	json_end_object(&w);
	output_json(&doc);
	return 0;
}

int verb_ls(struct cli *cli, struct error **errp)
{
	cleanup_run struct run run = {0};
	cleanup_bundle struct bundle *b = NULL;
	cleanup_role_view struct role_view *v = NULL;
	const char *path = cli->n_args > 1 ? cli->args[1] : "";
	struct lister l = {.is_long = cli_has(cli, "long")};
	bool recursive = cli_has(cli, "recursive");
	struct error *err = NULL;
	int r = run_begin(cli, &run, errp);

	if (r < 0)
		return r;
	r = run_role(&run, cli->args[0], &b, &v, &err);
	if (r == -EPROTONOSUPPORT)
		return run_artifact_list(&run, cli->args[0], path, l.is_long,
					 recursive, &err, errp);
	if (r < 0)
		return error_propagate(errp, &err, r);
	assert(v);
	l.v = v;
	return cli->json ? list_json(&l, path, recursive, errp)
			 : list(&l, path, recursive, errp);
}
