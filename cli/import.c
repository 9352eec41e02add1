#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/escape.h"
#include "base/io.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/verbs.h"
#include "engine/archive.h"
#include "engine/push.h"

const struct arg_option options_import[] = {
	{"dest", 0, "DIR", false, "unpack here: must not exist or be empty"},
	{"to", 0, "REF", false, "push what was unpacked"},
	{"force", 0, NULL, false, "move a tag that somebody else moved, too"},
	{0},
};

static void print_json(const struct import_result *im,
		       const struct push_result *pushed)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_put_int(&w, "bytes", (int64_t)im->bytes);
	if (pushed)
		json_put_str(&w, "digest", digest_to_str(&pushed->digest).str);
	json_put_int(&w, "files", (int64_t)im->files);
	json_put_int(&w, "pointers", (int64_t)im->pointers);
	json_end_object(&w);
	output_json(&doc);
}

/* Of "mops export --oci": pushed as files it would be another bundle. */
static bool is_layout(const char *dir)
{
	cleanup_free char *version = xasprintf("%s/oci-layout", dir);
	cleanup_free char *index = xasprintf("%s/index.json", dir);

	return access(version, F_OK) == 0 && access(index, F_OK) == 0;
}

static int push_unpacked(struct run *run, const char *dir,
			 const struct import_result *im,
			 struct push_result *ret, struct error **errp)
{
	struct push_options o = {
		.dir = dir,
		.to = cli_value(run->cli, "to"),
		.force = cli_has(run->cli, "force"),
		.show_progress = run_progress(run),
	};

	if (is_layout(dir))
		return error_hint(errp,
				  error_set(errp, EINVAL,
					    "the archive is an OCI image "
					    "layout, not a bundle's files"),
				  "unpack it with --dest DIR; then "
				  "oci:DIR:NAME:VERSION is a reference");
	if (im->pointers)
		return error_hint(
			errp,
			error_set(errp, EINVAL,
				  "the archive has %llu externals as pointers "
				  "only: they cannot be pushed",
				  (unsigned long long)im->pointers),
			"export with --include-external");
	return push(run->session, &o, ret, &run->op, errp);
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

static int import(struct run *run, const char *dest, struct error **errp)
{
	cleanup_push_result struct push_result pushed = {0};
	struct cli *cli = run->cli;
	bool to = cli_has(cli, "to");
	struct import_result im = {0};
	int r = import_archive(cli->args[0], dest, &im, &run->op, errp);

	if (r == 0 && to)
		r = push_unpacked(run, dest, &im, &pushed, errp);
	if (r < 0)
		return r;
	if (cli->json)
		print_json(&im, to ? &pushed : NULL);
	else if (to)
		print_line(stdout, "%s", digest_to_str(&pushed.digest).str);
	run_summary(run, "imported",
		    &(struct summary){.ref = to ? &pushed.ref : NULL,
				      .files = im.files,
				      .bytes = im.bytes,
				      .bytes_network = pushed.bytes_sent});
	return 0;
}

int verb_import(struct cli *cli, struct error **errp)
{
	cleanup_run struct run run = {0};
	cleanup_free char *dest = NULL;
	cleanup_free char *temp = NULL;
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
		r = import(&run, dest, errp);
	if (temp)
		io_remove_tree(AT_FDCWD, temp);
	return r;
}
