#include "engine/verify.h"

#include <errno.h>
#include <stdio.h>

#include "base/escape.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/verbs.h"

const struct arg_option options_verify[] = {
	{"deep", 0, NULL, false, "hash every byte at the registry, too"},
	{"cache", 0, NULL, false, "re-hash the cache; contacts no registry"},
	{0},
};

/* Findings go to stdout as they come; with --json they go with the error. */
static void found(void *ctx, const char *line)
{
	struct cli *cli = ctx;

	if (cli->json)
		strv_append(&cli->details, xstrdup(line));
	else
		print_line(stdout, "%s", line);
}

static void found_damage(void *ctx, const struct digest *d, const char *what)
{
	cleanup_free char *line =
		xasprintf("%s: %s", digest_to_str(d).str, what);

	found(ctx, line);
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

static int verify_cache(struct run *run, struct error **errp)
{
	struct cache_report c = {0};
	struct cache *cache;
	int r = session_cache(run->session, &cache, errp);

	if (r == 0)
		r = cache_verify(cache, &c, found_damage, run->cli, &run->op,
				 errp);
	if (r < 0)
		return r;
	if (run->cli->json && !c.damaged) {
		const struct count counts[] = {
			{"blobs", c.blobs},       {"bytes", c.bytes},
			{"chunks", c.chunks},     {"damaged", c.damaged},
			{"partials", c.partials},
		};

		print_json(counts, ARRAY_SIZE(counts));
	} else if (!run->cli->json) {
		print_line(stdout,
			   "%llu blobs (%s), %llu partial (%llu chunks): "
			   "%llu damaged",
			   (unsigned long long)c.blobs,
			   output_size(c.bytes).str,
			   (unsigned long long)c.partials,
			   (unsigned long long)c.chunks,
			   (unsigned long long)c.damaged);
	}
	if (c.damaged)
		return error_hint(
			errp,
			error_set(errp, EBADMSG,
				  "%llu damaged in the cache '%s'",
				  (unsigned long long)c.damaged,
				  cache_path(cache)),
			"they were moved to quarantine/ and will be fetched "
			"again when they are needed");
	return 0;
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
		r = verify_bundle(b, cli_has(run->cli, "deep"), found, run->cli,
				  run_progress(run), &v, &run->op, errp);
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
			{"unchecked", v.unchecked},
		};

		print_json(counts, ARRAY_SIZE(counts));
		return 0;
	}
	externals = say_externals(&v);
	print_line(stdout, "%s: %llu blobs (%s), %s: nothing damaged",
		   digest_to_str(&b->digest).str, (unsigned long long)v.blobs,
		   output_size(v.bytes).str, externals);
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
	r = run_begin(cli, &run, errp);
	if (r < 0)
		return r;
	return cache ? verify_cache(&run, errp) : verify_registry(&run, errp);
}
