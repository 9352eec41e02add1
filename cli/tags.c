#include <errno.h>
#include <stdio.h>

#include "base/escape.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/verbs.h"

static void print_json(const struct reference *ref, char *const *tags)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_put_str(&w, "name", ref->repo);
	json_begin_array(&w, "tags");
	for (; tags && *tags; tags++)
		json_put_str(&w, NULL, *tags);
	json_end_array(&w);
	json_end_object(&w);
	output_json(&doc);
}

int verb_tags(struct cli *cli, struct error **errp)
{
	cleanup_run struct run run = {0};
	cleanup_reference struct reference ref = {0};
	cleanup_strv char **tags = NULL;
	struct registry *reg;
	int r = run_begin(cli, &run, errp);

	if (r == 0)
		r = run_reference(&run, cli->args[0], &ref, errp);
	if (r == 0 && !ref.repo)
		r = error_set(errp, EINVAL, "'%s' names no bundle",
			      cli->args[0]);
	if (r == 0)
		r = session_registry(run.session, &ref, &reg, errp);
	if (r < 0)
		return r;
	r = reg->ops->list_tags(reg, ref.repo, &tags, &run.op, errp);
	if (r == -ENOENT)
		error_kind(errp, r, ERROR_NOT_FOUND);
	if (r < 0)
		return error_prefix(errp, r, "tags of '%s'", cli->args[0]);
	strv_sort(tags);
	if (cli->json)
		print_json(&ref, tags);
	for (char **t = tags; !cli->json && t && *t; t++)
		print_line(stdout, "%s", *t);
	return 0;
}
