/* rm: a registry forgets a tag, or a manifest with every tag of it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/escape.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/verbs.h"

const struct arg_option options_rm[] = {
	{"dry-run", 0, NULL, false, "only say what would be removed"},
	{0},
};

/* Without a version a reference means "latest": too little for this. */
static int check_explicit(const struct reference *ref, struct error **errp)
{
	size_t n = strlen(ref->text), len = ref->tag ? strlen(ref->tag) : 0;

	if (!ref->repo && !ref->has_digest)
		return error_set(errp, EINVAL, "'%s' names no bundle",
				 ref->text);
	if (ref->has_digest ||
	    (n > len && !strcmp(ref->text + n - len, ref->tag) &&
	     strchr(":@", ref->text[n - len - 1])))
		return 0;
	return error_hint(errp,
			  error_set(errp, EINVAL,
				    "'%s' has no version and no digest",
				    ref->text),
			  "say which one: NAME:VERSION, or NAME@sha256:… for "
			  "every tag of it");
}

/* What it is now: a name that is not there is said before anything is done. */
static int find(struct registry *reg, const struct reference *ref,
		struct digest *ret, const struct op *op, struct error **errp)
{
	cleanup_manifest_bytes struct manifest_bytes m = {0};
	const char *repo = ref->repo ? ref->repo : "";
	int r;

	*ret = ref->digest;
	if (ref->has_digest)
		r = reg->ops->get_manifest(reg, repo, ret, &m, op, errp);
	else
		r = reg->ops->resolve(reg, repo, ref->tag, ret, op, errp);
	return r == -ENOENT ? error_kind(errp, r, ERROR_NOT_FOUND) : r;
}

static int forget(struct registry *reg, const struct reference *ref,
		  const struct digest *d, const struct op *op,
		  struct error **errp)
{
	int r;

	if (!reg->ops->remove)
		return error_set(errp, EOPNOTSUPP,
				 "this registry removes nothing");
	r = reg->ops->remove(reg, ref->repo ? ref->repo : "",
			     ref->has_digest ? NULL : ref->tag, d, op, errp);
	if (r == -EOPNOTSUPP && !ref->has_digest)
		error_hint(errp, r,
			   "by its digest, %s, it may remove the manifest with "
			   "every tag of it",
			   digest_to_str(d).str);
	return r;
}

static void print_result(const struct cli *cli, const struct reference *ref,
			 const struct digest *d)
{
	cleanup_free char *name = reference_str(ref);
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	bool dry = cli_has(cli, "dry-run");
	struct json_writer w;

	if (!cli->json) {
		print_line(stdout, "%s %s%s%s",
			   dry ? "would remove" : "removed", name,
			   ref->has_digest ? "" : " ",
			   ref->has_digest ? "" : digest_to_str(d).str);
		return;
	}
	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_put_str(&w, "digest", digest_to_str(d).str);
	output_put_text(&w, "reference", name);
	json_put_bool(&w, "removed", !dry);
	json_end_object(&w);
	output_json(&doc);
}

int verb_rm(struct cli *cli, struct error **errp)
{
	cleanup_run struct run run = {0};
	cleanup_reference struct reference ref = {0};
	struct registry *reg;
	struct digest d;
	int r = run_begin(cli, &run, errp);

	if (r == 0)
		r = run_reference(&run, cli->args[0], &ref, errp);
	if (r == 0)
		r = check_explicit(&ref, errp);
	if (r == 0)
		r = session_registry(run.session, &ref, &reg, errp);
	if (r < 0)
		return r;
	r = find(reg, &ref, &d, &run.op, errp);
	if (r >= 0 && !cli_has(cli, "dry-run"))
		r = forget(reg, &ref, &d, &run.op, errp);
	if (r < 0)
		return error_prefix(errp, r, "removing '%s'", cli->args[0]);
	print_result(cli, &ref, &d);
	return 0;
}
