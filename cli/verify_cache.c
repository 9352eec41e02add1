#include "cli/verify_cache.h"

#include <errno.h>
#include <stdio.h>

#include "base/escape.h"
#include "cache/verify.h"
#include "cli/output.h"

struct checking {
	struct run *run;
	struct strbuf json; /* findings, the array's elements */
	struct json_writer w;
};

static const char *const kinds[] = {
	[CACHE_DAMAGED_BLOB] = "blob",
	[CACHE_DAMAGED_CHUNK] = "chunk",
	[CACHE_DAMAGED_MAP] = "partial",
};

static void print_found(const struct cache_finding *f)
{
	cleanup_strbuf struct strbuf sb = STRBUF_INIT;

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

static void put_found(struct json_writer *w, const struct cache_finding *f)
{
	json_begin_object(w, NULL);
	if (f->kind == CACHE_DAMAGED_CHUNK)
		json_put_int(w, "chunk", f->chunk);
	json_put_str(w, "digest", digest_to_str(&f->digest).str);
	json_put_bool(w, "earlier", f->earlier);
	if (f->error)
		json_put_str(w, "error", strerror(f->error));
	json_put_str(w, "expected", digest_to_str(&f->expected).str);
	if (f->has_found)
		json_put_str(w, "found", digest_to_str(&f->found).str);
	if (f->links) {
		json_put_int(w, "hardlinks", f->links);
		json_put_int(w, "inode", (int64_t)(f->ino & INT64_MAX));
	}
	json_put_str(w, "kind", kinds[f->kind]);
	json_put_int(w, "size", (int64_t)(f->size & INT64_MAX));
	json_end_object(w);
}

static void found(void *ctx, const struct cache_finding *f)
{
	struct checking *k = ctx;

	if (k->run->cli->json)
		put_found(&k->w, f);
	else
		print_found(f);
}

static void unchecked(void *ctx, const struct digest *d, int error)
{
	struct checking *k = ctx;

	if (!k->run->cli->json)
		print_line(stdout, "blob %s: not checked: %s",
			   digest_to_str(d).str, strerror(error));
}

static void print_json(const struct cache_report *c)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_put_int(&w, "blobs", (int64_t)c->blobs);
	json_put_int(&w, "bytes", (int64_t)c->bytes);
	json_put_int(&w, "chunks", (int64_t)c->chunks);
	json_put_int(&w, "damaged", (int64_t)c->damaged);
	json_put_int(&w, "partials", (int64_t)c->partials);
	json_put_bool(&w, "resumed", c->resumed);
	json_end_object(&w);
	output_json(&doc);
}

static int verdict(struct checking *k, const struct cache_report *c,
		   const char *path, struct error **errp)
{
	if (c->damaged)
		return error_hint(
			errp,
			error_set(errp, EBADMSG, "%llu damaged in '%s'",
				  (unsigned long long)c->damaged, path),
			"they were moved to quarantine/ and will be fetched "
			"again when they are needed");
	if (c->unchecked)
		return error_set(errp, EACCES,
				 "%llu blobs of '%s' could not be checked",
				 (unsigned long long)c->unchecked, path);
	if (k->run->cli->json)
		print_json(c);
	return 0;
}

static int check(struct checking *k, struct cache *cache,
		 struct cache_report *ret, struct error **errp)
{
	const struct settings *set = session_settings(k->run->session);
	const struct cache_verify_options o = {
		.limit_rate = set->limit_rate,
		.restart = cli_has(k->run->cli, "restart"),
		.progress = run_progress(k->run)
				    ? progress_new("verifying", true)
				    : NULL,
		.found = found,
		.unchecked = unchecked,
		.ctx = k,
		.op = &k->run->op,
	};
	int r;

	json_writer_init(&k->w, &k->json);
	json_begin_array(&k->w, NULL);
	r = cache_verify(cache, &o, ret, errp);
	json_end_array(&k->w);
	progress_free(o.progress);
	return r;
}

static void print_summary(const struct cache_report *c)
{
	print_line(stdout,
		   "%llu blobs (%s), %llu partial (%llu chunks): %llu damaged",
		   (unsigned long long)c->blobs, output_size(c->bytes).str,
		   (unsigned long long)c->partials,
		   (unsigned long long)c->chunks,
		   (unsigned long long)c->damaged);
}

int run_verify_cache(struct run *run, struct error **errp)
{
	struct checking k = {.run = run, .json = STRBUF_INIT};
	struct cache_report c = {0};
	struct cache *cache;
	int r = session_cache(run->session, &cache, errp);

	if (r < 0)
		return r;
	r = check(&k, cache, &c, errp);
	run->cli->findings = strbuf_steal(&k.json);
	if (r < 0)
		return error_hint(errp, r,
				  "run it again: it goes on from here");
	if (!run->cli->json)
		print_summary(&c);
	return verdict(&k, &c, cache_path(cache), errp);
}
