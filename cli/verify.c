#include "engine/verify.h"

#include <errno.h>
#include <stdio.h>

#include "base/escape.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/verbs.h"
#include "cli/verify_cache.h"

const struct arg_option options_verify[] = {
	{"deep", 0, NULL, false, "hash every byte at the registry, too"},
	{"cache", 0, NULL, false, "re-hash the cache"},
	{"repair", 0, NULL, false,
	 "fetch again what is damaged; with REF: put it there from the cache"},
	{"restart", 0, NULL, false,
	 "with --cache: do not go on with a scan that was interrupted"},
	{0},
};

/* Findings go to stdout as they come; with --json they go with the error. */
struct finding_list {
	struct cli *cli;
	struct strbuf json;
	struct json_writer w;
};

static void found(void *ctx, const struct verify_finding *f)
{
	struct finding_list *l = ctx;

	if (!l->cli->json) {
		print_line(stdout, "%s", f->line);
		return;
	}
	strv_append(&l->cli->details, xstrdup(f->line));
	json_begin_object(&l->w, NULL);
	json_put_bool(&l->w, "damaged", f->damaged);
	if (f->digest)
		json_put_str(&l->w, "expected", digest_to_str(f->digest).str);
	if (f->found)
		json_put_str(&l->w, "found", digest_to_str(f->found).str);
	output_put_text(&l->w, "message", f->line);
	if (f->path)
		output_put_text(&l->w, "path", f->path);
	json_put_bool(&l->w, "repaired", f->repaired);
	json_end_object(&l->w);
}

static int verify_all(struct run *run, struct bundle *b,
		      struct verify_result *ret, struct error **errp)
{
	struct finding_list l = {.cli = run->cli, .json = STRBUF_INIT};
	const struct verify_options o = {
		.deep = cli_has(run->cli, "deep"),
		.repair = cli_has(run->cli, "repair"),
		.show_progress = run_progress(run),
		.report = found,
		.ctx = &l,
	};
	int r;

	json_writer_init(&l.w, &l.json);
	json_begin_array(&l.w, NULL);
	r = verify_bundle(b, &o, ret, &run->op, errp);
	json_end_array(&l.w);
	run->cli->findings = strbuf_steal(&l.json);
	return r;
}

struct count {
	const char *name;
	uint64_t value;
};

/* @counts sorted by name. */
static void print_json(const struct count *counts, size_t n)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	for (size_t i = 0; i < n; i++)
		json_put_int(&w, counts[i].name, (int64_t)counts[i].value);
	json_end_object(&w);
	output_json(&doc);
}

/* "3 externals (2 by the store's checksum, 1 by size alone)", heap. */
static char *say_externals(const struct verify_result *v)
{
	const struct count how[] = {
		{"hashed", v->externals_hashed},
		{"by the store's checksum", v->externals_by_checksum},
		{"by the uploader's note", v->externals_by_metadata},
		{"by size alone", v->externals_by_size},
	};
	struct strbuf sb = STRBUF_INIT;
	bool any = false;

	strbuf_addf(&sb, "%llu externals", (unsigned long long)v->externals);
	for (size_t i = 0; i < ARRAY_SIZE(how); i++) {
		if (!how[i].value)
			continue;
		strbuf_addf(&sb, "%s%llu %s", any ? ", " : " (",
			    (unsigned long long)how[i].value, how[i].name);
		any = true;
	}
	if (any)
		strbuf_addc(&sb, ')');
	return strbuf_steal(&sb);
}

static int verify_registry(struct run *run, struct error **errp)
{
	cleanup_bundle struct bundle *b = NULL;
	cleanup_free char *externals = NULL;
	struct verify_result v = {0};
	int r = run_bundle(run, run->cli->args[0], &b, errp);

	if (r == 0)
		r = verify_all(run, b, &v, errp);
	if (r < 0)
		return r;
	if (run->cli->json) {
		const struct count counts[] = {
			{"blobs", v.blobs},
			{"bytes", v.bytes},
			{"damaged", v.damaged},
			{"externals", v.externals},
			{"externals_by_checksum", v.externals_by_checksum},
			{"externals_by_metadata", v.externals_by_metadata},
			{"externals_by_size", v.externals_by_size},
			{"externals_hashed", v.externals_hashed},
			{"repaired", v.repaired},
			{"unchecked", v.unchecked},
		};

		print_json(counts, ARRAY_SIZE(counts));
		return 0;
	}
	externals = say_externals(&v);
	print_line(stdout, "%s: %llu blobs (%s), %s: %s",
		   digest_to_str(&b->digest).str, (unsigned long long)v.blobs,
		   output_size(v.bytes).str, externals,
		   v.repaired ? "all damage repaired" : "nothing damaged");
	return 0;
}

int verb_verify(struct cli *cli, struct error **errp)
{
	cleanup_run struct run run = {0};
	bool cache = cli_has(cli, "cache");
	int r;

	if (cache == (cli->n_args == 1))
		return error_set(errp, EINVAL,
				 "verify wants a reference or --cache");
	if (cache && cli_has(cli, "deep"))
		return error_set(errp, EINVAL,
				 "--deep is for a reference: --cache always "
				 "hashes every byte");
	if (!cache && cli_has(cli, "restart"))
		return error_set(errp, EINVAL, "--restart is for --cache");
	r = run_begin(cli, &run, errp);
	if (r < 0)
		return r;
	return cache ? run_verify_cache(&run, errp)
		     : verify_registry(&run, errp);
}
