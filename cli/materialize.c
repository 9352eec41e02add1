#include "cli/materialize.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "base/escape.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "engine/trim.h"

const struct arg_option options_materialize[] = {
	{"overwrite", 0, NULL, false, "replace files that differ"},
	{"prefetch-external", 0, NULL, false, "fetch externals, too"},
	{"link", 0, "HOW", false,
	 "auto, reflink, hardlink, symlink or copy (default: auto)",
	 "auto|copy|hardlink|reflink|symlink"},
	{"writable", 0, NULL, false, "files that can be changed"},
	{"path", 0, "GLOB", false, "only files that match"},
	{0},
};

static int parse_link(const char *s, enum link_how *ret, struct error **errp)
{
	static const char *const names[] = {
		[LINK_AUTO] = "auto",         [LINK_REFLINK] = "reflink",
		[LINK_HARDLINK] = "hardlink", [LINK_SYMLINK] = "symlink",
		[LINK_COPY] = "copy",
	};

	for (size_t i = 0; s && i < ARRAY_SIZE(names); i++) {
		if (strcmp(s, names[i]) != 0)
			continue;
		*ret = (enum link_how)i;
		return 0;
	}
	return s ? error_set(errp, EINVAL, "--link does not know '%s'", s) : 0;
}

static void print_json(const struct role_view *v,
		       const struct materialize_result *m)
{
	cleanup_free char *ref = reference_str(&v->bundle->ref);
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_put_int(&w, "bytes", (int64_t)m->bytes);
	json_put_int(&w, "bytes_network", (int64_t)m->bytes_network);
	json_put_int(&w, "copied", (int64_t)m->copied);
	json_put_int(&w, "created", (int64_t)m->created);
	json_put_str(&w, "digest", digest_to_str(&v->bundle->digest).str);
	json_put_int(&w, "files", (int64_t)m->files);
	json_put_int(&w, "linked", (int64_t)m->linked);
	json_put_int(&w, "pointers", (int64_t)m->pointers);
	output_put_text(&w, "reference", ref);
	json_put_int(&w, "reflinked", (int64_t)m->reflinked);
	json_put_int(&w, "replaced", (int64_t)m->replaced);
	json_put_str(&w, "role", v->role->name);
	json_put_int(&w, "unchanged", (int64_t)m->unchanged);
	json_end_object(&w);
	output_json(&doc);
}

/* With --json they go with the error. */
static void report_conflicts(struct cli *cli,
			     const struct materialize_result *m)
{
	size_t shown = strv_len(m->conflicts);

	for (size_t i = 0; i < shown; i++)
		if (cli->json)
			strv_append(&cli->details, xstrdup(m->conflicts[i]));
		else
			print_line(stderr, "CONFLICT %s", m->conflicts[i]);
	if (!cli->json && m->n_conflicts > shown)
		print_line(stderr, "and %llu more",
			   (unsigned long long)(m->n_conflicts - shown));
}

int run_materialize(struct run *run, struct role_view *v,
		    struct materialize_options *o, struct error **errp)
{
	cleanup_materialize_result struct materialize_result m = {0};
	int r;

	o->show_progress = run_progress(run);
	r = materialize(v, o, &m, &run->op, errp);
	if (r < 0) {
		report_conflicts(run->cli, &m);
		return r;
	}
	if (run->cli->json)
		print_json(v, &m);
	else if (!run->cli->quiet)
		print_line(stderr,
			   "%llu created, %llu unchanged, %llu replaced, "
			   "%llu pointers",
			   (unsigned long long)m.created,
			   (unsigned long long)m.unchanged,
			   (unsigned long long)m.replaced,
			   (unsigned long long)m.pointers);
	run_summary(run, "materialized",
		    &(struct summary){.ref = &v->bundle->ref,
				      .digest = &v->bundle->digest,
				      .role = v->role->name,
				      .files = m.files,
				      .bytes = m.bytes,
				      .bytes_network = m.bytes_network});
	trim(run->session, &run->op);
	return 0;
}

int verb_materialize(struct cli *cli, struct error **errp)
{
	cleanup_run struct run run = {0};
	cleanup_bundle struct bundle *b = NULL;
	cleanup_role_view struct role_view *v = NULL;
	struct materialize_options o = {
		.dest = cli->args[1],
		.overwrite = cli_has(cli, "overwrite"),
		.prefetch_external = cli_has(cli, "prefetch-external"),
		.writable = cli_has(cli, "writable"),
		.glob = cli_value(cli, "path"),
	};
	int r = parse_link(cli_value(cli, "link"), &o.link, errp);

	if (r == 0)
		r = run_begin(cli, &run, errp);
	if (r == 0)
		r = run_role(&run, cli->args[0], &b, &v, errp);
	if (r < 0)
		return r;
	assert(v);
	return run_materialize(&run, v, &o, errp);
}
