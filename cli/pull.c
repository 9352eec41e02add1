#include "cli/pull.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "cache/gc.h"
#include "cli/artifact.h"
#include "cli/materialize.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/verbs.h"
#include "engine/pull.h"
#include "engine/trim.h"

const struct arg_option options_pull[] = {
	{"path", 0, "GLOB", false, "only files that match"},
	{"dest", 0, "DIR", false, "write the files into a folder, too"},
	{"overwrite", 0, NULL, false, "with --dest: replace what differs"},
	{"pin", 0, NULL, false, "gc keeps the bundle until it is unpinned"},
	{0},
};

static void print_json(const struct role_view *v, const struct pull_result *p)
{
	cleanup_free char *ref = reference_str(&v->bundle->ref);
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_put_int(&w, "bytes", (int64_t)p->bytes);
	json_put_int(&w, "bytes_network", (int64_t)p->bytes_network);
	json_put_str(&w, "digest", digest_to_str(&v->bundle->digest).str);
	json_put_int(&w, "files", (int64_t)p->files);
	output_put_text(&w, "reference", ref);
	json_put_str(&w, "role", v->role->name);
	json_end_object(&w);
	output_json(&doc);
}

int run_pull(struct run *run, struct role_view *v, const char *glob,
	     bool externals, const char *done, struct error **errp)
{
	struct pull_result p;
	int r = pull(v, glob, externals, run_progress(run), &p, &run->op, errp);

	if (r < 0)
		return r;
	if (run->cli->json)
		print_json(v, &p);
	run_summary(run, done,
		    &(struct summary){.ref = &v->bundle->ref,
				      .digest = &v->bundle->digest,
				      .role = v->role->name,
				      .files = p.files,
				      .bytes = p.bytes,
				      .bytes_network = p.bytes_network});
	trim(run->session, &run->op);
	return 0;
}

/* Before the bytes come: a collection meanwhile sees the pin, too. */
static int pin(struct run *run, const struct bundle *b, struct error **errp)
{
	struct cache *c;
	int r = session_cache(run->session, &c, errp);

	return r < 0 ? r : cache_pin(c, &b->digest, true, errp);
}

int verb_pull(struct cli *cli, struct error **errp)
{
	cleanup_run struct run run = {0};
	cleanup_bundle struct bundle *b = NULL;
	cleanup_role_view struct role_view *v = NULL;
	struct materialize_options o = {
		.dest = cli_value(cli, "dest"),
		.overwrite = cli_has(cli, "overwrite"),
		.glob = cli_value(cli, "path"),
	};
	struct artifact_pull foreign = {
		.dest = o.dest,
		.glob = o.glob,
		.overwrite = o.overwrite,
	};
	struct error *err = NULL;
	int r = run_begin(cli, &run, errp);

	if (r < 0)
		return r;
	foreign.show_progress = run_progress(&run);
	foreign.concurrency = session_settings(run.session)->concurrency;
	r = run_role(&run, cli->args[0], &b, &v, &err);
	if (r == -EPROTONOSUPPORT && o.dest && !cli_has(cli, "pin"))
		return run_artifact_pull(&run, cli->args[0], &foreign, &err,
					 errp);
	if (r == -EPROTONOSUPPORT)
		error_hint(&err, r,
			   "--dest DIR takes the files of an artifact whose "
			   "blobs have titles");
	if (r < 0)
		return error_propagate(errp, &err, r);
	if (cli_has(cli, "pin"))
		r = pin(&run, b, errp);
	if (r < 0)
		return r;
	assert(v);
	return o.dest ? run_materialize(&run, v, &o, errp)
		      : run_pull(&run, v, o.glob, false, "pulled", errp);
}
