/* cache: what is in the cache, how much, what must stay, making room, and where
 * it is. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "base/escape.h"
#include "base/log.h"
#include "cache/gc.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/verbs.h"
#include "engine/units.h"

const struct arg_option options_cache[] = {
	{"max-size", 0, "SIZE", false,
	 "gc: the least recently used go until the cache has at most SIZE"},
	{"min-free", 0, "SIZE", false,
	 "gc: they go until the file system has SIZE free"},
	{"dry-run", 0, NULL, false, "gc: only say what would go"},
	{0},
};

/*
 * ls
 */

struct listed {
	struct cache_bundle bundle;
	char **names; /* what resolved to it last */
};

struct listing {
	struct listed *v;
	size_t n, cap;
};

static void listing_release(struct listing *l)
{
	for (size_t i = 0; i < l->n; i++)
		strv_free(l->v[i].names);
	free(l->v);
}
#define cleanup_listing __attribute__((cleanup(listing_release)))

static int list_bundle(void *ctx, const struct cache_bundle *b)
{
	struct listing *l = ctx;

	ARRAY_GROW(l->v, l->n, l->cap);
	l->v[l->n++] = (struct listed){.bundle = *b};
	return 0;
}

static int list_name(void *ctx, const char *key, const struct digest *d)
{
	struct listing *l = ctx;

	if (strchr(key, '@')) /* no name: where that digest came from */
		return 0;
	for (size_t i = 0; i < l->n; i++)
		if (digest_equal(&l->v[i].bundle.manifest, d))
			strv_append(&l->v[i].names, xstrdup(key));
	return 0;
}

/* Used last, listed first. */
static int by_use(const void *a, const void *b)
{
	const struct cache_bundle *x = &((const struct listed *)a)->bundle;
	const struct cache_bundle *y = &((const struct listed *)b)->bundle;

	if (x->used_s != y->used_s)
		return x->used_s < y->used_s ? 1 : -1;
	return memcmp(x->manifest.b, y->manifest.b, DIGEST_SIZE);
}

struct time_text {
	char str[32];
};

static struct time_text time_text(int64_t s)
{
	time_t t = (time_t)s;
	struct time_text ret = {""};
	struct tm tm;

	if (gmtime_r(&t, &tm))
		strftime(ret.str, sizeof(ret.str), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return ret;
}

static void write_listed(struct json_writer *w, const struct listed *l)
{
	json_begin_object(w, NULL);
	json_put_str(w, "digest", digest_to_str(&l->bundle.manifest).str);
	json_put_bool(w, "pinned", l->bundle.pinned);
	json_begin_array(w, "references");
	for (char **n = l->names; n && *n; n++)
		json_put_str(w, NULL, *n);
	json_end_array(w);
	json_put_str(w, "used", time_text(l->bundle.used_s).str);
	json_end_object(w);
}

static void print_listed(const struct listed *l)
{
	cleanup_strbuf struct strbuf line = STRBUF_INIT;

	strbuf_addf(&line, "%s %s %-6s", digest_to_str(&l->bundle.manifest).str,
		    time_text(l->bundle.used_s).str,
		    l->bundle.pinned ? "pinned" : "-");
	for (char **n = l->names; n && *n; n++)
		strbuf_addf(&line, " %s", *n);
	print_line(stdout, "%s", strbuf_str(&line));
}

static void list_json(const struct listing *l)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_begin_array(&w, "bundles");
	for (size_t i = 0; i < l->n; i++)
		write_listed(&w, &l->v[i]);
	json_end_array(&w);
	json_end_object(&w);
	output_json(&doc);
}

static int read_listing(struct cache *c, struct listing *l, struct error **errp)
{
	int r = cache_bundle_each(c, list_bundle, l, errp);

	if (r == 0)
		r = cache_ref_each(c, list_name, l, errp);
	if (r < 0)
		return r;
	if (l->n)
		qsort(l->v, l->n, sizeof(*l->v), by_use);
	for (size_t i = 0; i < l->n; i++)
		strv_sort(l->v[i].names);
	return 0;
}

static int cache_ls(struct run *run, struct cache *c, struct error **errp)
{
	cleanup_listing struct listing l = {0};
	int r = read_listing(c, &l, errp);

	if (r < 0)
		return r;
	if (run->cli->json)
		list_json(&l);
	for (size_t i = 0; !run->cli->json && i < l.n; i++)
		print_listed(&l.v[i]);
	return 0;
}

/*
 * du
 */

static int cache_du(struct run *run, struct cache *c, struct error **errp)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct cache_usage u = {0};
	struct json_writer w;
	struct statvfs fs;
	uint64_t free_bytes;
	int r = cache_usage(c, &u, errp);

	if (r < 0)
		return r;
	if (fstatvfs(cache_dirfd(c), &fs) < 0)
		return error_set_errno(errp, errno, "'%s'", cache_path(c));
	free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (!run->cli->json) {
		print_line(stdout,
			   "%s: %" PRIu64 " blobs (%s), %" PRIu64
			   " partial (%s); %s free",
			   cache_path(c), u.blobs,
			   output_size(u.blob_bytes).str, u.partials,
			   output_size(u.partial_bytes).str,
			   output_size(free_bytes).str);
		return 0;
	}
	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_put_int(&w, "blob_bytes", (int64_t)u.blob_bytes);
	json_put_int(&w, "blobs", (int64_t)u.blobs);
	json_put_int(&w, "free_bytes", (int64_t)free_bytes);
	json_put_int(&w, "partial_bytes", (int64_t)u.partial_bytes);
	json_put_int(&w, "partials", (int64_t)u.partials);
	output_put_text(&w, "path", cache_path(c));
	json_end_object(&w);
	output_json(&doc);
	return 0;
}

/*
 * gc
 */

static void log_removed(void *ctx, const struct digest *d, uint64_t bytes)
{
	(void)ctx; /* the cache, for bundle_needs() */
	log_info("%s, %s", digest_to_str(d).str, output_size(bytes).str);
}

static int size_of(const struct cli *cli, const char *name, uint64_t *ret,
		   struct error **errp)
{
	const char *text = cli_value(cli, name);

	if (text && parse_size(text, ret) < 0)
		return error_set(errp, EINVAL, "--%s '%s' is no size", name,
				 text);
	return 0;
}

static void gc_json(const struct gc_report *g)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_put_int(&w, "blobs", (int64_t)g->blobs);
	json_put_int(&w, "bytes_after", (int64_t)g->bytes_after);
	json_put_int(&w, "bytes_before", (int64_t)g->bytes_before);
	json_put_int(&w, "kept", (int64_t)g->kept);
	json_put_int(&w, "kept_linked", (int64_t)g->kept_linked);
	json_put_int(&w, "layers", (int64_t)g->layers);
	json_put_int(&w, "leftovers", (int64_t)g->leftovers);
	json_put_int(&w, "partials", (int64_t)g->partials);
	json_end_object(&w);
	output_json(&doc);
}

static void gc_text(const struct gc_report *g, bool dry_run)
{
	print_line(stdout,
		   "%s %" PRIu64 " blobs, %" PRIu64 " partial, %" PRIu64
		   " folders of layers, %" PRIu64 " leftovers: %s freed",
		   dry_run ? "would remove" : "removed", g->blobs, g->partials,
		   g->layers, g->leftovers,
		   output_size(g->bytes_before - g->bytes_after).str);
	print_line(stdout,
		   "%s left; %" PRIu64 " in use or pinned, %" PRIu64
		   " linked elsewhere",
		   output_size(g->bytes_after).str, g->kept, g->kept_linked);
}

static int gc(struct run *run, struct cache *c, struct error **errp)
{
	const struct cli *cli = run->cli;
	struct gc_options o = {
		.max_bytes = UINT64_MAX,
		.dry_run = cli_has(cli, "dry-run"),
		.op = &run->op,
		.expand = bundle_needs,
		.ctx = c,
		.removed = log_removed,
	};
	struct gc_report g = {0};
	int r = size_of(cli, "max-size", &o.max_bytes, errp);

	if (r == 0)
		r = size_of(cli, "min-free", &o.min_free, errp);
	if (r == 0)
		r = cache_gc(c, &o, &g, errp);
	if (r < 0)
		return r;
	if (cli->json)
		gc_json(&g);
	else
		gc_text(&g, o.dry_run);
	return 0;
}

/*
 * pin, unpin
 */

/* A digest as ls prints it needs no registry, nor the bundle's documents. */
static int which_bundle(struct run *run, const char *text, struct digest *ret,
			struct error **errp)
{
	cleanup_bundle struct bundle *b = NULL;
	int r;

	if (digest_parse(text, strlen(text), ret, NULL) == 0)
		return 0;
	r = run_bundle(run, text, &b, errp);
	if (r == 0)
		*ret = b->digest;
	return r;
}

static int pin(struct run *run, struct cache *c, bool pinned,
	       struct error **errp)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;
	struct digest d;
	int r = which_bundle(run, run->cli->args[1], &d, errp);

	if (r == 0)
		r = cache_pin(c, &d, pinned, errp);
	if (r < 0)
		return r;
	if (!run->cli->json) {
		print_line(stdout, "%s", digest_to_str(&d).str);
		return 0;
	}
	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_put_str(&w, "digest", digest_to_str(&d).str);
	json_put_bool(&w, "pinned", pinned);
	json_end_object(&w);
	output_json(&doc);
	return 0;
}

static int cache_pin_ref(struct run *run, struct cache *c, struct error **errp)
{
	return pin(run, c, true, errp);
}

static int cache_unpin_ref(struct run *run, struct cache *c,
			   struct error **errp)
{
	return pin(run, c, false, errp);
}

/*
 * path
 */

static int cache_say_path(struct run *run, struct cache *c, struct error **errp)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	(void)errp;
	if (!run->cli->json) {
		print_line(stdout, "%s", cache_path(c));
		return 0;
	}
	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	output_put_text(&w, "path", cache_path(c));
	json_end_object(&w);
	output_json(&doc);
	return 0;
}

/* What help and completion know of them is the row of the verb (cli/mops.c). */
static const struct {
	const char *name;
	unsigned args; /* with the name */
	int (*run)(struct run *run, struct cache *c, struct error **errp);
} actions[] = {
	{"ls", 1, cache_ls},
	{"du", 1, cache_du},
	{"gc", 1, gc},
	{"pin", 2, cache_pin_ref},
	{"unpin", 2, cache_unpin_ref},
	{"path", 1, cache_say_path},
};

static int check_flags(const struct cli *cli, struct error **errp)
{
	for (const struct arg_option *o = options_cache; o->name; o++)
		if (cli_has(cli, o->name) && strcmp(cli->args[0], "gc") != 0)
			return error_set(errp, EINVAL, "--%s is for 'cache gc'",
					 o->name);
	return 0;
}

int verb_cache(struct cli *cli, struct error **errp)
{
	cleanup_run struct run run = {0};
	const char *name = cli->args[0];
	struct cache *c;
	size_t i = 0;
	int r;

	while (i < ARRAY_SIZE(actions) && strcmp(actions[i].name, name) != 0)
		i++;
	if (i == ARRAY_SIZE(actions))
		return error_set(errp, EINVAL, "'cache %s' is none of %.*s",
				 name, (int)strcspn(cli->verb->arguments, " "),
				 cli->verb->arguments);
	if (cli->n_args != actions[i].args)
		return error_set(errp, EINVAL, "'cache %s' wants %s", name,
				 actions[i].args == 1
					 ? "no argument"
					 : "a reference or digest");
	r = check_flags(cli, errp);
	if (r == 0)
		r = run_begin(cli, &run, errp);
	if (r == 0)
		r = session_cache(run.session, &c, errp);
	return r < 0 ? r : actions[i].run(&run, c, errp);
}
