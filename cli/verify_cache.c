#include "cli/verify_cache.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/escape.h"
#include "cli/output.h"
#include "engine/verify_cache.h"

static const char *const kinds[] = {
	[CACHE_DAMAGED_BLOB] = "blob",
	[CACHE_DAMAGED_CHUNK] = "chunk",
	[CACHE_DAMAGED_MAP] = "partial",
};

static void print_found(void *ctx, const struct cache_finding *f)
{
	const struct cli *cli = ctx;
	cleanup_strbuf struct strbuf sb = STRBUF_INIT;

	if (cli->json)
		return; /* all at once, when it is known who needs it */
	if (f->kind == CACHE_DAMAGED_CHUNK)
		strbuf_addf(&sb, "chunk %u of partial ", f->chunk);
	else
		strbuf_addf(&sb, "%s ", kinds[f->kind]);
	strbuf_addf(&sb, "%s: ", digest_to_str(&f->digest).str);
	if (f->error)
		strbuf_addf(&sb, "cannot be read: %s", strerror(f->error));
	else if (f->kind == CACHE_DAMAGED_MAP)
		strbuf_adds(&sb, "its map is damaged");
	else if (!f->has_found)
		strbuf_addf(&sb, "ends after %llu bytes",
			    (unsigned long long)f->size);
	else
		strbuf_addf(&sb, "expected %s, found %s (%llu bytes)",
			    digest_to_str(&f->expected).str,
			    digest_to_str(&f->found).str,
			    (unsigned long long)f->size);
	if (f->links)
		strbuf_addf(&sb,
			    "; %u hardlinks outside the cache have it, too "
			    "(inode %llu)",
			    f->links, (unsigned long long)f->ino);
	if (f->earlier)
		strbuf_adds(&sb, " [found before]");
	print_line(stdout, "%s", strbuf_str(&sb));
}

static void print_unchecked(void *ctx, const struct cache_finding *f)
{
	const struct cli *cli = ctx;

	if (!cli->json)
		print_line(stdout, "%s %s: not checked: %s", kinds[f->kind],
			   digest_to_str(&f->digest).str, strerror(f->error));
}

/*
 * Who needs it, and what came of it.
 */

static const char *const states[] = {
	[CHECK_DAMAGED] = "damaged",
	[CHECK_REPAIRED] = "repaired",
	[CHECK_UNUSED] = "unused",
};

static void print_use(const struct check_use *u)
{
	cleanup_strbuf struct strbuf sb = STRBUF_INIT;
	size_t shown = strv_len(u->paths);

	strbuf_addf(&sb, "  %s", u->reference ? u->reference : "a bundle");
	if (!u->reference || !strchr(u->reference, '@'))
		strbuf_addf(&sb, " (%s)", digest_to_str(&u->bundle).str);
	strbuf_addf(&sb, ": %s", u->what ? u->what : "content");
	for (size_t i = 0; i < shown; i++)
		strbuf_addf(&sb, "%s '%s'", i ? "," : ":", u->paths[i]);
	if (u->files > shown)
		strbuf_addf(&sb, " and %llu more",
			    (unsigned long long)(u->files - shown));
	print_line(stdout, "%s", strbuf_str(&sb));
}

static void print_item(const struct check_item *it, bool repair)
{
	const struct cache_finding *f = &it->finding;
	cleanup_strbuf struct strbuf sb = STRBUF_INIT;

	strbuf_addf(&sb, "%s", digest_to_str(&f->digest).str);
	if (f->kind == CACHE_DAMAGED_CHUNK)
		strbuf_addf(&sb, " chunk %u", f->chunk);
	if (f->kind == CACHE_DAMAGED_BLOB && it->want_size &&
	    it->want_size != f->size)
		strbuf_addf(&sb, ": expected %llu bytes, found %llu",
			    (unsigned long long)it->want_size,
			    (unsigned long long)f->size);
	if (it->state == CHECK_UNUSED)
		strbuf_adds(&sb, ": no bundle of the cache needs it");
	else if (it->state == CHECK_REPAIRED)
		strbuf_adds(&sb, ": repaired");
	else if (repair)
		strbuf_addf(&sb, ": not repaired: %s",
			    it->why ? it->why : "who needs it is not known");
	else if (!it->n)
		strbuf_adds(&sb, ": who needs it is not known");
	else
		strbuf_adds(&sb, ": needed by");
	print_line(stdout, "%s", strbuf_str(&sb));
	for (size_t i = 0; i < it->n; i++)
		print_use(&it->uses[i]);
}

static void put_use(struct json_writer *w, const struct check_use *u)
{
	json_begin_object(w, NULL);
	json_put_str(w, "bundle", digest_to_str(&u->bundle).str);
	json_put_int(w, "files", (int64_t)u->files);
	json_begin_array(w, "paths");
	for (char **p = u->paths; p && *p; p++)
		output_put_text(w, NULL, *p);
	json_end_array(w);
	if (u->reference)
		output_put_text(w, "reference", u->reference);
	if (u->what)
		output_put_text(w, "what", u->what);
	json_end_object(w);
}

/* Sizes are of files, or of a note that may lie. */
static int64_t clamp(uint64_t v)
{
	return (int64_t)MIN(v, (uint64_t)INT64_MAX);
}

static void put_item(struct json_writer *w, const struct check_item *it)
{
	const struct cache_finding *f = &it->finding;

	json_begin_object(w, NULL);
	if (f->kind == CACHE_DAMAGED_CHUNK)
		json_put_int(w, "chunk", f->chunk);
	json_put_str(w, "digest", digest_to_str(&f->digest).str);
	json_put_bool(w, "earlier", f->earlier);
	if (f->error)
		json_put_str(w, "error", strerror(f->error));
	json_put_str(w, "expected", digest_to_str(&f->expected).str);
	if (it->want_size && f->kind == CACHE_DAMAGED_BLOB)
		json_put_int(w, "expected_size", clamp(it->want_size));
	if (f->has_found)
		json_put_str(w, "found", digest_to_str(&f->found).str);
	if (f->links) {
		json_put_int(w, "hardlinks", f->links);
		json_put_int(w, "inode", clamp(f->ino));
	}
	json_put_str(w, "kind", kinds[f->kind]);
	json_put_int(w, "size", clamp(f->size));
	json_put_str(w, "state", states[it->state]);
	json_begin_array(w, "used_by");
	for (size_t i = 0; i < it->n; i++)
		put_use(w, &it->uses[i]);
	json_end_array(w);
	if (it->why && it->state == CHECK_DAMAGED)
		output_put_text(w, "why", it->why);
	json_end_object(w);
}

static void put_unchecked(struct json_writer *w, const struct cache_finding *f)
{
	json_begin_object(w, NULL);
	json_put_str(w, "digest", digest_to_str(&f->digest).str);
	json_put_str(w, "error", strerror(f->error));
	json_put_str(w, "kind", kinds[f->kind]);
	json_put_str(w, "state", "unchecked");
	json_end_object(w);
}

/* A JSON array, heap. */
static char *all_items(const struct verify_cache_result *k)
{
	struct strbuf sb = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &sb);
	json_begin_array(&w, NULL);
	for (size_t i = 0; i < k->n; i++)
		put_item(&w, &k->items[i]);
	for (size_t i = 0; i < k->n_unchecked; i++)
		put_unchecked(&w, &k->unchecked[i]);
	json_end_array(&w);
	return strbuf_steal(&sb);
}

/*
 * The whole.
 */

static void print_json(const struct verify_cache_result *k,
		       const char *findings)
{
	const struct cache_report *c = &k->report;
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_put_int(&w, "blobs", (int64_t)c->blobs);
	json_put_int(&w, "bytes", (int64_t)c->bytes);
	json_put_int(&w, "chunks", (int64_t)c->chunks);
	json_put_int(&w, "damaged", (int64_t)c->damaged);
	json_put_raw(&w, "findings", findings);
	json_put_int(&w, "partials", (int64_t)c->partials);
	json_put_int(&w, "repaired", (int64_t)k->repaired);
	json_put_bool(&w, "resumed", c->resumed);
	json_put_int(&w, "unused", (int64_t)k->unused);
	json_end_object(&w);
	output_json(&doc);
}

static void print_summary(const struct verify_cache_result *k, bool repair)
{
	const struct cache_report *c = &k->report;
	cleanup_strbuf struct strbuf sb = STRBUF_INIT;

	strbuf_addf(&sb,
		    "%llu blobs (%s), %llu partial (%llu chunks): %llu damaged",
		    (unsigned long long)c->blobs, output_size(c->bytes).str,
		    (unsigned long long)c->partials,
		    (unsigned long long)c->chunks,
		    (unsigned long long)c->damaged);
	if (repair && c->damaged)
		strbuf_addf(&sb, ", %llu repaired, %llu not needed",
			    (unsigned long long)k->repaired,
			    (unsigned long long)k->unused);
	if (c->resumed)
		strbuf_adds(&sb, " (with what an interrupted scan had seen)");
	print_line(stdout, "%s", strbuf_str(&sb));
}

static bool hardlinked(const struct verify_cache_result *k)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->items[i].finding.links)
			return true;
	return false;
}

static int damaged(const struct verify_cache_result *k, bool repair,
		   const char *path, struct error **errp)
{
	uint64_t n = repair ? k->left : k->report.damaged;
	int r = error_set(errp, EBADMSG, "%llu damaged in '%s'%s",
			  (unsigned long long)n, path,
			  repair ? " and not repaired" : "");

	if (repair)
		return error_hint(errp, r,
				  "what is missing is fetched when it is "
				  "needed; give the command again when its "
				  "source can be reached");
	return error_hint(errp, r,
			  "they were moved to quarantine/ and will be fetched "
			  "again when they are needed, or now by --repair");
}

static int verdict(struct run *run, const struct verify_cache_result *k,
		   bool repair, const char *path, struct error **errp)
{
	if (repair ? k->left : k->report.damaged)
		return damaged(k, repair, path, errp);
	if (k->report.unchecked)
		return error_set(errp, EACCES,
				 "%llu files of '%s' could not be checked",
				 (unsigned long long)k->report.unchecked, path);
	if (run->cli->json)
		print_json(k, run->cli->findings);
	return 0;
}

int run_verify_cache(struct run *run, struct error **errp)
{
	cleanup_verify_cache struct verify_cache_result k = {0};
	const struct verify_cache_options o = {
		.repair = cli_has(run->cli, "repair"),
		.restart = cli_has(run->cli, "restart"),
		.show_progress = run_progress(run),
		.found = print_found,
		.unchecked = print_unchecked,
		.ctx = run->cli,
	};
	static char note[] =
		"files that were materialized as hardlinks have damaged bytes, "
		"too: materialize them again with --overwrite";
	char *const hardlinks[] = {note, NULL};
	struct cache *cache;
	int r = session_cache(run->session, &cache, errp);

	if (r < 0)
		return r;
	r = verify_cache(run->session, &o, &k, &run->op, errp);
	run->cli->findings = all_items(&k);
	if (r < 0)
		return error_hint(errp, r,
				  "run it again: it goes on from here");
	for (size_t i = 0; !run->cli->json && i < k.n; i++)
		print_item(&k.items[i], o.repair);
	if (!run->cli->json)
		print_summary(&k, o.repair);
	if (hardlinked(&k))
		run_warn(hardlinks);
	return verdict(run, &k, o.repair, cache_path(cache), errp);
}
