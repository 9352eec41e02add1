#include <stdio.h>

#include "base/escape.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/verbs.h"
#include "engine/workspace.h"

const struct arg_option options_scan[] = {
	{"follow-symlinks", 0, NULL, false, "store what links point to"},
	{0},
};

static const char *kind_name(enum tree_kind k)
{
	return k == TREE_DIR ? "dir" : k == TREE_SYMLINK ? "symlink" : "file";
}

static void write_entry(struct json_writer *w, const struct inv_entry *e,
			const struct bundle_file *bf)
{
	json_begin_object(w, NULL);
	if (e->kind == TREE_FILE)
		json_put_str(w, "digest", digest_to_str(&e->digest).str);
	json_put_bool(w, "executable", e->executable);
	json_put_str(w, "kind", kind_name(e->kind));
	json_put_str(w, "layer", bf->layers[e->layer].name);
	json_put_str(w, "path", e->path);
	if (e->kind == TREE_FILE)
		json_put_int(w, "size", (int64_t)e->size);
	if (e->kind == TREE_SYMLINK)
		json_put_str(w, "target", e->target);
	json_end_object(w);
}

static void print_json(const struct workspace *ws)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_begin_array(&w, "entries");
	for (size_t i = 0; i < ws->inv.n; i++)
		write_entry(&w, &ws->inv.entries[i], &ws->bf);
	json_end_array(&w);
	json_put_int(&w, "hashed", (int64_t)ws->inv.n_hashed);
	json_begin_array(&w, "unowned");
	for (size_t i = 0; i < ws->inv.n_unowned; i++)
		json_put_str(&w, NULL, ws->inv.unowned[i]);
	json_end_array(&w);
	json_end_object(&w);
	output_json(&doc);
}

static void print_layer(const struct workspace *ws, uint32_t layer)
{
	uint64_t files = 0, bytes = 0;

	for (size_t i = 0; i < ws->inv.n; i++) {
		const struct inv_entry *e = &ws->inv.entries[i];

		if (e->layer != layer || e->kind != TREE_FILE)
			continue;
		files++;
		bytes += e->size;
	}
	print_line(stdout, "layer %s: %llu files, %s",
		   ws->bf.layers[layer].name, (unsigned long long)files,
		   output_size(bytes).str);
	for (size_t i = 0; i < ws->inv.n; i++) {
		const struct inv_entry *e = &ws->inv.entries[i];

		if (e->layer != layer || e->kind == TREE_DIR)
			continue;
		print_line(stdout, "  %s%s", e->path,
			   e->kind == TREE_SYMLINK ? " (symlink)" : "");
	}
}

int verb_scan(struct cli *cli, struct error **errp)
{
	cleanup_run struct run run = {0};
	cleanup_workspace struct workspace ws = WORKSPACE_INIT;
	int r = run_begin(cli, &run, errp);

	if (r == 0)
		r = run_workspace(&run, NULL, &ws, errp);
	if (r < 0)
		return r;
	if (cli->json) {
		print_json(&ws);
		return 0;
	}
	for (uint32_t i = 0; i < ws.bf.n_layers; i++)
		print_layer(&ws, i);
	run_warn(ws.inv.warnings);
	print_line(stdout, "%zu files belong to no layer", ws.inv.n_unowned);
	for (size_t i = 0; i < ws.inv.n_unowned; i++)
		print_line(stdout, "  %s", ws.inv.unowned[i]);
	return 0;
}
