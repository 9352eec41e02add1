#include "engine/push.h"

#include <stdio.h>

#include "base/escape.h"
#include "cli/external.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/verbs.h"

const struct arg_option options_push[] = {
	{"to", 0, "REF", false, "where to (default: the bundle file's name)"},
	{"tag", 't', "TAG", true, "a tag, in place of the file's version"},
	{"external", 0, "PATH=URI", true, "a file that is at a URI already"},
	{"bump", 0, "PART", false,
	 "push as the next major, minor or patch version", "major|minor|patch"},
	{"follow-symlinks", 0, NULL, false, "store what links point to"},
	{"trace", 0, "FILE", false,
	 "attach what 'mopsfs mount --record' wrote; the digest stays"},
	{"plan-version", 0, "N", false, "pack by the rules of that version",
	 "1"},
	{"force", 0, NULL, false, "move a tag that somebody else moved, too"},
	{"reupload", 0, NULL, false, "upload what is there already, too"},
	{"dry-run", 'n', NULL, false, "only say what would be uploaded"},
	{0},
};

static void print_json(const struct push_result *p, bool dry_run)
{
	cleanup_free char *ref = reference_str(&p->ref);
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_put_int(&w, "blobs", (int64_t)p->blobs_total);
	json_put_int(&w, "blobs_sent", (int64_t)p->blobs_sent);
	json_put_int(&w, "bytes", (int64_t)p->bytes);
	json_put_int(&w, "bytes_sent", (int64_t)p->bytes_sent);
	json_put_str(&w, "digest", digest_to_str(&p->digest).str);
	json_put_bool(&w, "dry_run", dry_run);
	json_put_int(&w, "externals_sent", (int64_t)p->externals_sent);
	json_put_int(&w, "files", (int64_t)p->files);
	output_put_text(&w, "reference", ref);
	json_put_bool(&w, "tag_moved", p->tag_moved);
	if (p->has_trace)
		json_put_str(&w, "trace", digest_to_str(&p->trace).str);
	json_put_int(&w, "unowned", (int64_t)p->unowned);
	json_end_object(&w);
	output_json(&doc);
}

static void print_text(const struct run *run, const struct push_result *p,
		       bool dry_run)
{
	struct summary s = {
		.ref = &p->ref,
		.files = p->files,
		.bytes = p->bytes,
		.bytes_network = p->bytes_sent,
	};

	print_line(stdout, "%s", digest_to_str(&p->digest).str);
	if (run->cli->quiet)
		return;
	if (p->unowned)
		print_line(stderr, "%llu files belong to no layer: left out",
			   (unsigned long long)p->unowned);
	if (p->blobs_sent || p->externals_sent)
		print_line(stderr, "%s %llu of %llu blobs (%s), %llu externals",
			   dry_run ? "would upload" : "uploaded",
			   (unsigned long long)p->blobs_sent,
			   (unsigned long long)p->blobs_total,
			   output_size(p->bytes_sent).str,
			   (unsigned long long)p->externals_sent);
	else
		print_line(stderr,
			   "nothing to upload: all %llu blobs are there",
			   (unsigned long long)p->blobs_total);
	if (p->has_trace)
		print_line(stderr, "attached the trace as %s",
			   digest_to_str(&p->trace).str);
	run_summary(run, dry_run ? "would push" : "pushed", &s);
}

int verb_push(struct cli *cli, struct error **errp)
{
	cleanup_run struct run run = {0};
	cleanup_externals struct externals ext = {0};
	cleanup_push_result struct push_result result = {0};
	cleanup_strv char **tags = NULL;
	struct push_options o = {
		.dir = cli->n_args ? cli->args[0] : ".",
		.to = cli_value(cli, "to"),
		.bump = cli_value(cli, "bump"),
		.trace = cli_value(cli, "trace"),
		.follow_symlinks = cli_has(cli, "follow-symlinks"),
		.dry_run = cli_has(cli, "dry-run"),
		.force = cli_has(cli, "force"),
		.reupload = cli_has(cli, "reupload"),
	};
	const char *tag;
	int r = run_begin(cli, &run, errp);

	if (r == 0)
		r = run_plan_rules(&run, &o.rules, errp);
	if (r == 0)
		r = externals_of(cli, &ext, errp);
	if (r < 0)
		return r;
	for (size_t i = 0; (tag = cli_value_at(cli, "tag", i)); i++)
		strv_append(&tags, xstrdup(tag));
	o.tags = tags;
	o.externals = ext.v;
	o.n_externals = ext.n;
	o.show_progress = run_progress(&run);
	r = push(run.session, &o, &result, &run.op, errp);
	if (r < 0)
		return r;
	run_warn(result.warnings);
	if (cli->json)
		print_json(&result, o.dry_run);
	else
		print_text(&run, &result, o.dry_run);
	return 0;
}
