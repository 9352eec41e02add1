#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/escape.h"
#include "base/io.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/verbs.h"
#include "engine/archive.h"
#include "engine/import_layout.h"
#include "engine/push.h"

const struct arg_option options_import[] = {
	{"dest", 0, "DIR", false, "unpack here: must not exist or be empty"},
	{"to", 0, "REF", false, "push what was unpacked"},
	{"force", 0, NULL, false, "move a tag that somebody else moved, too"},
	{0},
};

/* Where it went. */
struct sent {
	struct reference ref;
	struct digest digest;
	uint64_t bytes;
};

static void print_json(const struct import_result *im, const struct sent *to)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_put_int(&w, "bytes", (int64_t)im->bytes);
	if (to)
		json_put_str(&w, "digest", digest_to_str(&to->digest).str);
	json_put_int(&w, "files", (int64_t)im->files);
	json_put_int(&w, "pointers", (int64_t)im->pointers);
	json_end_object(&w);
	output_json(&doc);
}

static int push_unpacked(struct run *run, const char *dir,
			 const struct import_result *im, struct sent *ret,
			 struct error **errp)
{
	cleanup_push_result struct push_result pushed = {0};
	struct push_options o = {
		.dir = dir,
		.to = cli_value(run->cli, "to"),
		.force = cli_has(run->cli, "force"),
		.show_progress = run_progress(run),
	};
	int r;

	if (im->pointers)
		return error_hint(
			errp,
			error_set(errp, EINVAL,
				  "the archive has %llu externals as pointers "
				  "only: they cannot be pushed",
				  (unsigned long long)im->pointers),
			"export with --include-external");
	r = push(run->session, &o, &pushed, &run->op, errp);
	if (r < 0)
		return r;
	ret->ref = pushed.ref;
	pushed.ref = (struct reference){0};
	ret->digest = pushed.digest;
	ret->bytes = pushed.bytes_sent;
	return 0;
}

/* The bundle as it is, with its digest. */
static int copy_unpacked(struct run *run, const char *dir, struct sent *ret,
			 struct error **errp)
{
	const struct copy_options o = {
		.force = cli_has(run->cli, "force"),
		.show_progress = run_progress(run),
	};
	struct copy_result copied = {0};
	int r = run_reference(run, cli_value(run->cli, "to"), &ret->ref, errp);

	if (r == 0)
		r = import_layout(run->session, dir, run->cli->args[0],
				  &ret->ref, &o, &copied, &run->op, errp);
	if (r < 0)
		return r;
	ret->digest = copied.digest;
	ret->bytes = copied.bytes_sent;
	return 0;
}

/* A folder of ours when the user gave none. */
static int choose_dest(struct cli *cli, char **ret, char **ret_temp,
		       struct error **errp)
{
	const char *dest = cli_value(cli, "dest");
	const char *tmp = getenv("TMPDIR");

	if (dest) {
		*ret = xstrdup(dest);
		return 0;
	}
	*ret_temp = xasprintf("%s/mops-import.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(*ret_temp)) {
		freep(ret_temp);
		return error_set_errno(errp, errno, "making a folder");
	}
	*ret = xasprintf("%s/bundle", *ret_temp);
	return 0;
}

static int import(struct run *run, const char *dest, struct sent *sent,
		  struct error **errp)
{
	struct cli *cli = run->cli;
	bool to = cli_has(cli, "to");
	struct import_result im = {0};
	int r = import_archive(cli->args[0], dest, &im, &run->op, errp);

	if (r == 0 && to)
		r = im.is_layout ? copy_unpacked(run, dest, sent, errp)
				 : push_unpacked(run, dest, &im, sent, errp);
	if (r < 0)
		return r;
	if (cli->json)
		print_json(&im, to ? sent : NULL);
	else if (to)
		print_line(stdout, "%s", digest_to_str(&sent->digest).str);
	run_summary(run, "imported",
		    &(struct summary){.ref = to ? &sent->ref : NULL,
				      .files = im.files,
				      .bytes = im.bytes,
				      .bytes_network = sent->bytes});
	return 0;
}

int verb_import(struct cli *cli, struct error **errp)
{
	cleanup_run struct run run = {0};
	cleanup_free char *dest = NULL;
	cleanup_free char *temp = NULL;
	struct sent sent = {0};
	int r;

	if (!cli_has(cli, "dest") && !cli_has(cli, "to"))
		return error_set(errp, EINVAL,
				 "import wants --dest DIR, --to REF, or both");
	if (cli_has(cli, "force") && !cli_has(cli, "to"))
		return error_set(errp, EINVAL, "--force is for --to");
	r = run_begin(cli, &run, errp);
	if (r == 0)
		r = choose_dest(cli, &dest, &temp, errp);
	if (r == 0)
		r = import(&run, dest, &sent, errp);
	reference_release(&sent.ref);
	if (temp)
		io_remove_tree(AT_FDCWD, temp);
	return r;
}
