#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/escape.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/verbs.h"

/* What stands in for an API of referrers is no tag of a bundle. */
static bool is_fallback(const char *tag)
{
	struct digest d;

	return !strncmp(tag, "sha256-", 7) &&
	       digest_parse_hex(tag + 7, strlen(tag + 7), &d, NULL) == 0;
}

static void drop_fallbacks(char **tags)
{
	char **to = tags;

	for (char **t = tags; t && *t; t++)
		if (is_fallback(*t))
			free(*t);
		else
			*to++ = *t;
	if (tags)
		*to = NULL;
}

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
	drop_fallbacks(tags);
	strv_sort(tags);
	if (cli->json)
		print_json(&ref, tags);
	for (char **t = tags; !cli->json && t && *t; t++)
		print_line(stdout, "%s", *t);
	return 0;
}
