/* list: the bundles of the default registry, by the names that reach them. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/escape.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/verbs.h"

static void print_json(const char *registry, char *const *names)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_begin_array(&w, "names");
	for (; names && *names; names++)
		json_put_str(&w, NULL, *names);
	json_end_array(&w);
	json_put_str(&w, "registry", registry);
	json_end_object(&w);
	output_json(&doc);
}

/* Those below @prefix, without it. */
static char **below(char *const *repos, const char *prefix, size_t len)
{
	char **names = NULL;

	for (; repos && *repos; repos++)
		if (strncmp(*repos, prefix, len) == 0 && (*repos)[len])
			strv_append(&names, xstrdup(*repos + len));
	strv_sort(names);
	return names;
}

static int list_repos(struct registry *reg, const struct run *run, char ***ret,
		      struct error **errp)
{
	if (!reg->ops->list_repos)
		return error_set(errp, EOPNOTSUPP,
				 "it does not list its repositories");
	return reg->ops->list_repos(reg, ret, &run->op, errp);
}

int verb_list(struct cli *cli, struct error **errp)
{
	cleanup_run struct run run = {0};
	cleanup_reference struct reference ref = {0};
	cleanup_strv char **repos = NULL, **names = NULL;
	struct registry *reg = NULL;
	const char *where;
	int r = run_begin(cli, &run, errp);

	/* Any name: what stands before it is where bare names resolve. */
	if (r == 0)
		r = run_reference(&run, "x", &ref, errp);
	if (r == 0)
		r = session_registry(run.session, &ref, &reg, errp);
	if (r < 0)
		return r;
	assert(reg);
	where = cli->settings.registry;
	r = list_repos(reg, &run, &repos, errp);
	if (r < 0)
		return error_prefix(errp, r, "bundles of '%s'", where);
	names = below(repos, ref.repo, strlen(ref.repo) - 1);
	if (cli->json)
		print_json(where, names);
	for (char **n = names; !cli->json && n && *n; n++)
		print_line(stdout, "%s", *n);
	return 0;
}
