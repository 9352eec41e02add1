/* diff: what lies between two bundles, a bundle and a folder, two folders. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/escape.h"
#include "cli/node_json.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/verbs.h"
#include "engine/diff.h"

const struct arg_option options_diff[] = {
	{"stat", 0, NULL, false, "only the sums"},
	{"exit-code", 0, NULL, false, "exit 13 when they differ"},
	{"follow-symlinks", 0, NULL, false,
	 "of a folder: what its links point to"},
	{0},
};

/* One of the two: a role of a bundle, or of a folder as a push would take it. */
struct side {
	const char *name; /* as the user wrote it */
	struct bundle *bundle;
	struct role_view *view;
	struct workspace ws; /* of a folder, as is */
	void *mem;           /* the tree's */
	struct tree *own;
	const struct tree *tree; /* either one's */
};

#define SIDE_INIT                     \
	{                             \
		.ws = WORKSPACE_INIT, \
	}

static void side_release(struct side *s)
{
	tree_closep(&s->own);
	free(s->mem);
	workspace_release(&s->ws);
	role_view_closep(&s->view);
	bundle_closep(&s->bundle);
}
#define cleanup_side __attribute__((cleanup(side_release)))

static const char *layer_name(const struct side *s, const struct tree_node *n)
{
	if (s->view)
		return node_layer(s->view, n);
	return n->kind == TREE_DIR ? NULL : s->ws.bf.layers[n->layer].name;
}

/*
 * Opening them.
 */

static int no_role(const struct side *s, const char *role, struct error **errp)
{
	const struct bundle_file *bf = &s->ws.bf;
	cleanup_strbuf struct strbuf names = STRBUF_INIT;

	for (size_t i = 0; i < bf->n_roles; i++)
		strbuf_addf(&names, "%s'%s'", i ? ", " : "", bf->roles[i].name);
	error_set_kind(errp, ERROR_ROLE, ENOENT, "'%s' has no role '%s'",
		       s->name, role);
	return error_hint(errp, -ENOENT, "its roles are %s",
			  strbuf_str(&names));
}

/* The layers of the chosen role. A folder that no bundle file divides has no
 * roles: all of it (NULL). */
static int folder_layers(const struct run *run, const struct side *s,
			 bool **ret, struct error **errp)
{
	const struct bundle_file *bf = &s->ws.bf;
	const char *role = run->cli->settings.role;
	const struct bf_role *found;

	if (!bf->file)
		return 0;
	role = role ? role : "default";
	found = bundle_file_role(bf, role);
	if (!found)
		return no_role(s, role, errp);
	*ret = xcalloc(bf->n_layers, sizeof(**ret));
	for (size_t i = 0; i < bf->n_layers; i++)
		for (char **l = found->layers; *l; l++)
			(*ret)[i] |= strcmp(*l, bf->layers[i].name) == 0;
	return 0;
}

static int open_folder(struct run *run, struct side *s, struct error **errp)
{
	cleanup_free bool *layers = NULL;
	size_t n;
	int r = run_folder(run, s->name, NULL, &s->ws, errp);

	if (r == 0)
		run_warn(s->ws.inv.warnings);
	if (r == 0)
		r = folder_layers(run, s, &layers, errp);
	if (r == 0)
		r = inventory_tree(&s->ws.inv, layers, &s->mem, &n, errp);
	if (r == 0)
		r = tree_open_mem(s->mem, n, &s->own, errp);
	s->tree = s->own;
	return r;
}

static int open_bundle(struct run *run, struct side *s, struct error **errp)
{
	struct stat st;
	int r = run_role(run, s->name, &s->bundle, &s->view, errp);

	if (r == 0)
		s->tree = s->view->tree;
	else if (stat(s->name, &st) == 0 && S_ISDIR(st.st_mode))
		return error_hint(errp, r, "the folder is './%s'", s->name);
	return r;
}

static int open_side(struct run *run, const char *name, struct side *s,
		     struct error **errp)
{
	s->name = name;
	return reference_is_path(name) ? open_folder(run, s, errp)
				       : open_bundle(run, s, errp);
}

/*
 * Text.
 */

static const char *plural(uint64_t n)
{
	return n == 1 ? "entry" : "entries";
}

/* "12.0 KiB", or "10.0 KiB -> 12.0 KiB". */
static void add_sizes(struct strbuf *out, enum diff_kind kind, uint64_t a,
		      uint64_t b)
{
	if (kind == DIFF_MODIFIED)
		strbuf_addf(out, "%s -> %s", output_size(a).str,
			    output_size(b).str);
	else
		strbuf_adds(out, output_size(kind == DIFF_REMOVED ? a : b).str);
}

struct change_view {
	enum diff_kind kind;
	bool has_a, has_b;
	struct tree_node a, b;
	struct strbuf path, from; /* from: where it was, when renamed */
};

static void change_view_release(struct change_view *v)
{
	strbuf_release(&v->path);
	strbuf_release(&v->from);
}
#define cleanup_change_view __attribute__((cleanup(change_view_release)))

static int change_view_make(const struct side *a, const struct side *b,
			    const struct diff_change *c,
			    struct change_view *ret, struct error **errp)
{
	int r = 0;

	ret->kind = c->kind;
	ret->has_a = c->a != TREE_NONE;
	ret->has_b = c->b != TREE_NONE;
	if (ret->has_a)
		r = tree_node(a->tree, c->a, &ret->a, errp);
	if (r == 0 && ret->has_b)
		r = tree_node(b->tree, c->b, &ret->b, errp);
	if (r == 0 && c->kind == DIFF_RENAMED)
		r = tree_path(a->tree, c->a, &ret->from, errp);
	if (r < 0)
		return r;
	return ret->has_b ? tree_path(b->tree, c->b, &ret->path, errp)
			  : tree_path(a->tree, c->a, &ret->path, errp);
}

static void print_change(const struct change_view *v)
{
	const struct tree_node *n = v->has_b ? &v->b : &v->a;
	cleanup_strbuf struct strbuf sizes = STRBUF_INIT;
	bool renamed = v->kind == DIFF_RENAMED;
	bool both = v->has_a && v->has_b;

	add_sizes(&sizes, v->kind, v->a.kind == TREE_FILE ? v->a.size : 0,
		  v->b.kind == TREE_FILE ? v->b.size : 0);
	print_line(stdout, "%-8s %24s  %s%s%s%s%s", diff_kind_name(v->kind),
		   strbuf_str(&sizes), strbuf_str(&v->from),
		   renamed ? " -> " : "", strbuf_str(&v->path),
		   n->kind == TREE_DIR ? "/" : "",
		   !both || v->a.executable == v->b.executable ? ""
		   : v->b.executable ? " (now executable)"
				     : " (executable no more)");
}

static void print_sum(enum diff_kind kind, const struct diff_sum *s)
{
	cleanup_strbuf struct strbuf sizes = STRBUF_INIT;

	add_sizes(&sizes, kind, s->a_bytes, s->b_bytes);
	print_line(stdout, "%-10s %10llu  %s", diff_kind_name(kind),
		   (unsigned long long)s->entries, strbuf_str(&sizes));
}

static void print_stat(const struct diff *d)
{
	for (int k = 0; k < DIFF_KINDS; k++)
		print_sum((enum diff_kind)k, &d->sums[k]);
	print_line(stdout, "%-10s %10llu  %s", "unchanged",
		   (unsigned long long)d->same.entries,
		   output_size(d->same.b_bytes).str);
	print_line(stdout, "%-10s %llu %s, %s -> %llu %s, %s", "total",
		   (unsigned long long)d->a.entries, plural(d->a.entries),
		   output_size(d->a.a_bytes).str,
		   (unsigned long long)d->b.entries, plural(d->b.entries),
		   output_size(d->b.b_bytes).str);
}

static int print_text(const struct side *a, const struct side *b,
		      const struct diff *d, struct error **errp)
{
	for (size_t i = 0; i < d->n; i++) {
		cleanup_change_view struct change_view v = {0};
		int r = change_view_make(a, b, &d->changes[i], &v, errp);

		if (r < 0)
			return r;
		print_change(&v);
	}
	return 0;
}

/*
 * JSON.
 */

static void write_change(struct json_writer *w, const struct side *a,
			 const struct side *b, const struct change_view *v)
{
	json_begin_object(w, NULL);
	if (v->has_a)
		node_json(w, "a", &v->a, layer_name(a, &v->a), NULL, NULL);
	if (v->has_b)
		node_json(w, "b", &v->b, layer_name(b, &v->b), NULL, NULL);
	json_put_str(w, "change", diff_kind_name(v->kind));
	if (v->kind == DIFF_RENAMED)
		json_put_str(w, "from", strbuf_str(&v->from));
	json_put_str(w, "path", strbuf_str(&v->path));
	json_end_object(w);
}

static void write_side(struct json_writer *w, const char *key,
		       const struct side *s, uint64_t entries, uint64_t bytes)
{
	json_begin_object(w, key);
	json_put_int(w, "bytes", (int64_t)bytes);
	if (s->view)
		json_put_str(w, "digest",
			     digest_to_str(&s->bundle->digest).str);
	json_put_int(w, "entries", (int64_t)entries);
	output_put_text(w, "name", s->name);
	if (s->view)
		json_put_str(w, "role", s->view->role->name);
	json_end_object(w);
}

static void write_sum(struct json_writer *w, const char *key,
		      const struct diff_sum *s)
{
	json_begin_object(w, key);
	json_put_int(w, "bytes_a", (int64_t)s->a_bytes);
	json_put_int(w, "bytes_b", (int64_t)s->b_bytes);
	json_put_int(w, "entries", (int64_t)s->entries);
	json_end_object(w);
}

static void write_sums(struct json_writer *w, const struct diff *d)
{
	static const enum diff_kind by_name[] = {DIFF_ADDED, DIFF_MODE,
						 DIFF_MODIFIED, DIFF_REMOVED,
						 DIFF_RENAMED};

	json_begin_object(w, "totals");
	for (size_t i = 0; i < ARRAY_SIZE(by_name); i++)
		write_sum(w, diff_kind_name(by_name[i]), &d->sums[by_name[i]]);
	write_sum(w, "unchanged", &d->same);
	json_end_object(w);
}

static int print_json(const struct side *a, const struct side *b,
		      const struct diff *d, bool stat, struct error **errp)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	write_side(&w, "a", a, d->a.entries, d->a.a_bytes);
	write_side(&w, "b", b, d->b.entries, d->b.b_bytes);
	if (!stat)
		json_begin_array(&w, "changes");
	for (size_t i = 0; !stat && i < d->n; i++) {
		cleanup_change_view struct change_view v = {0};
		int r = change_view_make(a, b, &d->changes[i], &v, errp);

		if (r < 0)
			return r;
		write_change(&w, a, b, &v);
		output_json_part(&doc);
	}
	if (!stat)
		json_end_array(&w);
	json_put_bool(&w, "differ", d->n > 0);
	write_sums(&w, d);
	json_end_object(&w);
	output_json(&doc);
	return 0;
}

int verb_diff(struct cli *cli, struct error **errp)
{
	cleanup_run struct run run = {0};
	cleanup_side struct side a = SIDE_INIT, b = SIDE_INIT;
	cleanup_diff struct diff d = {0};
	bool stat = cli_has(cli, "stat");
	int r = run_begin(cli, &run, errp);

	if (r == 0)
		r = open_side(&run, cli->args[0], &a, errp);
	if (r == 0)
		r = open_side(&run, cli->args[1], &b, errp);
	if (r < 0)
		return r;
	assert(a.tree && b.tree);
	r = diff_trees(a.tree, b.tree, &d, errp);
	if (r == 0 && cli->json)
		r = print_json(&a, &b, &d, stat, errp);
	else if (r == 0 && stat)
		print_stat(&d);
	else if (r == 0)
		r = print_text(&a, &b, &d, errp);
	if (r < 0)
		return r;
	return d.n && cli_has(cli, "exit-code") ? EXIT_STATUS_DIFFERENT : 0;
}
