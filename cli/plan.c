#include <stdio.h>

#include "base/escape.h"
#include "cli/external.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/verbs.h"
#include "engine/plan.h"

const struct arg_option options_plan[] = {
	{"external", 0, "PATH=URI", true, "a file that is at a URI already"},
	{"external-preview", 0, NULL, false, "only the external files"},
	{"plan-version", 0, "N", false, "by the rules of that version", "1"},
	{"follow-symlinks", 0, NULL, false, "store what links point to"},
	{0},
};

static const char *place_name(enum plan_place p)
{
	static const char *const names[] = {
		[PLACE_NONE] = "tree",
		[PLACE_BLOB] = "blob",
		[PLACE_PACK] = "pack",
		[PLACE_EXTERNAL] = "external",
	};

	return names[p];
}

static bool wanted(const struct cli *cli, const struct plan_entry *e)
{
	return e->inv->kind != TREE_DIR && (e->place == PLACE_EXTERNAL ||
					    !cli_has(cli, "external-preview"));
}

static void write_entry(struct json_writer *w, const struct plan_entry *e,
			const struct workspace *ws)
{
	json_begin_object(w, NULL);
	json_put_str(w, "layer", ws->bf.layers[e->inv->layer].name);
	json_put_str(w, "path", e->inv->path);
	json_put_str(w, "place", place_name(e->place));
	json_put_str(w, "reason", e->reason);
	json_put_int(w, "size", (int64_t)e->inv->size);
	if (e->uri)
		json_put_str(w, "uri", e->uri);
	json_end_object(w);
}

static void print_json(const struct cli *cli, const struct workspace *ws,
		       const struct plan *plan)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_put_int(&w, "blobs", (int64_t)plan->n_blob_descriptors);
	json_begin_array(&w, "entries");
	for (size_t i = 0; i < plan->n; i++)
		if (wanted(cli, &plan->entries[i]))
			write_entry(&w, &plan->entries[i], ws);
	json_end_array(&w);
	json_put_int(&w, "packs", (int64_t)plan->n_packs);
	json_put_int(&w, "plan_version", plan->rules->version);
	json_put_int(&w, "unowned", (int64_t)ws->inv.n_unowned);
	json_end_object(&w);
	output_json(&doc);
}

static void print_entry(const struct plan_entry *e, const struct workspace *ws)
{
	char where[32];

	if (e->place == PLACE_PACK)
		snprintf(where, sizeof(where), "pack %u", e->pack);
	else
		snprintf(where, sizeof(where), "%s", place_name(e->place));
	print_line(stdout, "%-12s %-10s %10s  %s%s%s  (%s)",
		   ws->bf.layers[e->inv->layer].name, where,
		   output_size(e->inv->size).str, e->inv->path,
		   e->uri ? " -> " : "", e->uri ? e->uri : "", e->reason);
}

static void print_text(const struct cli *cli, const struct workspace *ws,
		       const struct plan *plan)
{
	for (size_t i = 0; i < plan->n; i++)
		if (wanted(cli, &plan->entries[i]))
			print_entry(&plan->entries[i], ws);
	print_line(stdout,
		   "plan version %u: %zu packs and %zu blobs of at most %d "
		   "descriptors; %zu files belong to no layer",
		   plan->rules->version, plan->n_packs,
		   plan->n_blob_descriptors, MAX_LAYER_DESCRIPTORS,
		   ws->inv.n_unowned);
}

int verb_plan(struct cli *cli, struct error **errp)
{
	cleanup_run struct run run = {0};
	cleanup_workspace struct workspace ws = WORKSPACE_INIT;
	cleanup_plan struct plan plan = {0};
	cleanup_externals struct externals ext = {0};
	struct plan_options po = {0};
	int r = run_begin(cli, &run, errp);

	if (r == 0)
		r = run_plan_rules(&run, &po.rules, errp);
	if (r == 0)
		r = externals_of(cli, &ext, errp);
	if (r == 0)
		r = run_workspace(&run, &ext, &ws, errp);
	po.externals = ext.v;
	po.n_externals = ext.n;
	if (r == 0)
		r = plan_make(&ws.inv, &ws.bf, &po, &plan, errp);
	if (r < 0)
		return r;
	run_warn(ws.inv.warnings);
	if (cli->json)
		print_json(cli, &ws, &plan);
	else
		print_text(cli, &ws, &plan);
	return 0;
}
