#include <errno.h>
#include <stdio.h>

#include "base/escape.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/verbs.h"
#include "engine/archive.h"
#include "engine/trim.h"

const struct arg_option options_export[] = {
	{"output", 'o', "FILE", false, "the archive: FILE.tar or FILE.tar.zst"},
	{"include-external", 0, NULL, false,
	 "externals as files, not pointers"},
	{"oci", 0, NULL, false,
	 "the bundle as an OCI image layout, all roles of it"},
	{0},
};

static int export_ref(struct run *run, const char *file,
		      struct export_result *ret, struct error **errp)
{
	cleanup_bundle struct bundle *b = NULL;
	cleanup_role_view struct role_view *v = NULL;
	int r = run_role(run, run->cli->args[0], &b, &v, errp);

	if (r < 0)
		return r;
	r = export_role(v, file, cli_has(run->cli, "include-external"),
			run_progress(run), ret, &run->op, errp);
	trim(run->session, &run->op);
	return r;
}

static int export_oci(struct run *run, const char *file,
		      struct export_result *ret, struct error **errp)
{
	cleanup_bundle struct bundle *b = NULL;
	int r;

	if (reference_is_path(run->cli->args[0]))
		return error_set(errp, EINVAL,
				 "--oci is for a reference, not a folder");
	if (cli_has(run->cli, "include-external"))
		return error_set(errp, EINVAL,
				 "--oci and --include-external exclude each "
				 "other: a bundle names its externals");
	r = run_bundle(run, run->cli->args[0], &b, errp);
	return r < 0 ? r
		     : export_layout(b, file, run_progress(run), ret, &run->op,
				     errp);
}

static int export(struct run *run, const char *file, struct export_result *ret,
		  struct error **errp)
{
	const char *what = run->cli->args[0];

	if (cli_has(run->cli, "oci"))
		return export_oci(run, file, ret, errp);
	return reference_is_path(what) ? export_folder(run->session, what, file,
						       ret, &run->op, errp)
				       : export_ref(run, file, ret, errp);
}

static void print_json(const struct export_result *x, const char *file)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_put_int(&w, "bytes", (int64_t)x->bytes);
	output_put_text(&w, "file", file);
	json_put_int(&w, "files", (int64_t)x->files);
	json_put_int(&w, "pointers", (int64_t)x->pointers);
	json_put_str(&w, "tar_digest", digest_to_str(&x->tar).str);
	if (x->zstd_version) {
		json_put_int(&w, "zstd_level", x->zstd_level);
		json_put_str(&w, "zstd_version", x->zstd_version);
	}
	json_end_object(&w);
	output_json(&doc);
}

int verb_export(struct cli *cli, struct error **errp)
{
	cleanup_run struct run run = {0};
	const char *file = cli_value(cli, "output");
	struct export_result x = {0};
	int r;

	if (!file)
		return error_set(errp, EINVAL, "export wants -o FILE");
	r = run_begin(cli, &run, errp);
	if (r < 0)
		return r;
	r = export(&run, file, &x, errp);
	if (r < 0)
		return r;
	if (cli->json)
		print_json(&x, file);
	else
		print_line(stdout, "%s", digest_to_str(&x.tar).str);
	run_summary(&run, "exported",
		    &(struct summary){.files = x.files, .bytes = x.bytes});
	return 0;
}
