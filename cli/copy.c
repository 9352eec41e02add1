/* copy: a bundle, or another artifact, from one registry or folder to another.
 */
#include "engine/copy.h"

#include <stdio.h>

#include "base/escape.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/verbs.h"

const struct arg_option options_copy[] = {
	{"force", 0, NULL, false, "move a tag that somebody else moved, too"},
	{"dry-run", 'n', NULL, false, "only say what would be sent"},
	{0},
};

static void print_json(const struct copy_result *c, const char *from,
		       const char *to, bool dry_run)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_put_int(&w, "blobs", (int64_t)c->blobs);
	json_put_int(&w, "blobs_mounted", (int64_t)c->blobs_mounted);
	json_put_int(&w, "blobs_sent", (int64_t)c->blobs_sent);
	json_put_int(&w, "bytes", (int64_t)c->bytes);
	json_put_int(&w, "bytes_sent", (int64_t)c->bytes_sent);
	json_put_str(&w, "digest", digest_to_str(&c->digest).str);
	json_put_bool(&w, "dry_run", dry_run);
	output_put_text(&w, "from", from);
	output_put_text(&w, "reference", to);
	json_put_int(&w, "referrers", (int64_t)c->referrers);
	json_put_bool(&w, "tag_moved", c->tag_moved);
	json_end_object(&w);
	output_json(&doc);
}

static void print_text(const struct run *run, const struct copy_result *c,
		       const char *to, bool dry_run)
{
	double seconds = (double)(time_mono_ns() - run->started_ns) / NS_PER_S;

	print_line(stdout, "%s", digest_to_str(&c->digest).str);
	if (run->cli->quiet)
		return;
	print_line(stderr,
		   "%s %s: %llu of %llu blobs %s (%s of %s), %llu taken over, "
		   "%llu referrers, %.1f s",
		   dry_run ? "would copy to" : "copied to", to,
		   (unsigned long long)c->blobs_sent,
		   (unsigned long long)c->blobs,
		   dry_run ? "are missing" : "sent",
		   output_size(c->bytes_sent).str, output_size(c->bytes).str,
		   (unsigned long long)c->blobs_mounted,
		   (unsigned long long)c->referrers, seconds);
}

int verb_copy(struct cli *cli, struct error **errp)
{
	cleanup_run struct run run = {0};
	cleanup_reference struct reference from = {0}, to = {0};
	cleanup_free char *from_name = NULL, *to_name = NULL;
	struct copy_result result;
	struct copy_options o = {
		.dry_run = cli_has(cli, "dry-run"),
		.force = cli_has(cli, "force"),
	};
	int r = run_begin(cli, &run, errp);

	if (r == 0)
		r = run_reference(&run, cli->args[0], &from, errp);
	if (r == 0)
		r = run_reference(&run, cli->args[1], &to, errp);
	if (r < 0)
		return r;
	o.show_progress = run_progress(&run);
	r = copy_artifact(run.session, &from, &to, &o, &result, &run.op, errp);
	if (r < 0)
		return r;
	from_name = reference_str(&from);
	to_name = reference_str(&to);
	if (cli->json)
		print_json(&result, from_name, to_name, o.dry_run);
	else
		print_text(&run, &result, to_name, o.dry_run);
	return 0;
}
