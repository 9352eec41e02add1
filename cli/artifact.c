#include "cli/artifact.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/escape.h"
#include "cli/output.h"

static int open_it(struct run *run, const struct reference *ref,
		   struct artifact *ret, struct error **take_err,
		   struct error **errp)
{
	int code = *take_err ? -(*take_err)->code : -EPROTONOSUPPORT;
	int r = artifact_open(run->session, ref, ret, &run->op, errp);

	if (r == 0)
		return error_propagate(errp, take_err, code);
	error_free(steal_ptr(take_err));
	return r < 0 ? r : 0;
}

static void say_untitled(const struct run *run, const struct artifact *a)
{
	if (a->n_untitled && !run->cli->quiet)
		print_line(stderr, "%zu blobs have no title and are left out",
			   a->n_untitled);
}

/*
 * Pull.
 */

static void pulled_json(const struct reference *ref, const struct artifact *a,
			const struct artifact_pulled *p, uint64_t network)
{
	cleanup_free char *name = reference_str(ref);
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_put_int(&w, "bytes", (int64_t)p->bytes);
	json_put_int(&w, "bytes_network", (int64_t)network);
	json_put_int(&w, "created", (int64_t)p->created);
	json_put_str(&w, "digest", digest_to_str(&a->digest).str);
	json_put_int(&w, "files", (int64_t)p->files);
	output_put_text(&w, "reference", name);
	json_put_int(&w, "replaced", (int64_t)p->replaced);
	json_put_int(&w, "unchanged", (int64_t)p->unchanged);
	json_put_int(&w, "untitled", (int64_t)a->n_untitled);
	json_end_object(&w);
	output_json(&doc);
}

static void report_conflicts(struct cli *cli, const struct artifact_pulled *p)
{
	for (char **s = p->conflicts; s && *s; s++)
		if (cli->json)
			strv_append(&cli->details, xstrdup(*s));
		else
			print_line(stderr, "CONFLICT %s", *s);
}

int run_artifact_pull(struct run *run, const char *text,
		      const struct artifact_pull *o, struct error **take_err,
		      struct error **errp)
{
	cleanup_artifact_pulled struct artifact_pulled p = {0};
	cleanup_reference struct reference ref = {0};
	cleanup_artifact struct artifact a = {0};
	atomic_uint_fast64_t in = 0;
	struct op op = run->op;
	int r = run_reference(run, text, &ref, errp);

	if (r == 0)
		r = open_it(run, &ref, &a, take_err, errp);
	if (r < 0)
		return r;
	op.bytes_in = &in;
	r = artifact_pull(&a, o, &p, &op, errp);
	if (r < 0) {
		report_conflicts(run->cli, &p);
		return r;
	}
	if (run->cli->json)
		pulled_json(&ref, &a, &p, in);
	say_untitled(run, &a);
	run_summary(run, "pulled",
		    &(struct summary){.ref = &ref,
				      .digest = &a.digest,
				      .files = p.files,
				      .bytes = p.bytes,
				      .bytes_network = in});
	return 0;
}

/*
 * List.
 */

/* What to show of a file under @path: the name below it; NULL: nothing. */
static const char *below(const char *file, const char *path)
{
	size_t n = strlen(path);

	if (!n || strcmp(file, path) == 0)
		return file;
	if (strncmp(file, path, n) != 0 || file[n] != '/')
		return NULL;
	return file + n + 1;
}

static void list_one(struct json_writer *w, const struct artifact_file *f,
		     bool is_long)
{
	if (!w && !is_long) {
		print_line(stdout, "%s", f->path);
	} else if (!w) {
		print_line(stdout, "-rw-r--r-- %12llu %-10s %-8s %s",
			   (unsigned long long)f->desc->size, "-", "blob",
			   f->path);
	} else {
		json_begin_object(w, NULL);
		json_put_str(w, "digest", digest_to_str(&f->desc->digest).str);
		json_put_bool(w, "executable", false);
		json_put_str(w, "kind", "file");
		json_put_str(w, "path", f->path);
		json_put_str(w, "place", "blob");
		json_put_int(w, "size", (int64_t)f->desc->size);
		json_end_object(w);
	}
}

/* A folder of which only the name is shown, once. */
static void list_folder(struct json_writer *w, const char *path, size_t n)
{
	cleanup_free char *name = xstrndup(path, n);

	if (!w) {
		print_line(stdout, "%s/", name);
		return;
	}
	json_begin_object(w, NULL);
	json_put_bool(w, "executable", false);
	json_put_str(w, "kind", "dir");
	json_put_str(w, "path", name);
	json_put_str(w, "place", "tree");
	json_end_object(w);
}

static size_t list_all(const struct artifact *a, const char *path, bool is_long,
		       bool recursive, struct json_writer *w)
{
	const char *last = NULL;
	size_t last_n = 0, shown = 0;

	for (size_t i = 0; i < a->n_files; i++) {
		const struct artifact_file *f = &a->files[i];
		const char *name = below(f->path, path);
		const char *slash = name ? strchr(name, '/') : NULL;
		size_t n = slash ? (size_t)(slash - f->path) : 0;

		shown += name != NULL;
		if (!name || (slash && !recursive && last && n == last_n &&
			      strncmp(last, f->path, n) == 0))
			continue;
		if (slash && !recursive && strcmp(f->path, path) != 0) {
			list_folder(w, f->path, n);
			last = f->path;
			last_n = n;
		} else {
			list_one(w, f, is_long);
		}
	}
	return shown;
}

int run_artifact_list(struct run *run, const char *text, const char *path,
		      bool is_long, bool recursive, struct error **take_err,
		      struct error **errp)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	cleanup_reference struct reference ref = {0};
	cleanup_artifact struct artifact a = {0};
	struct json_writer w;
	int r = run_reference(run, text, &ref, errp);
	size_t shown;

	if (r == 0)
		r = open_it(run, &ref, &a, take_err, errp);
	if (r < 0)
		return r;
	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_put_str(&w, "digest", digest_to_str(&a.digest).str);
	json_begin_array(&w, "entries");
	shown = list_all(&a, path, is_long, recursive,
			 run->cli->json ? &w : NULL);
	json_end_array(&w);
	json_end_object(&w);
	if (*path && !shown)
		return error_set_kind(errp, ERROR_NOT_FOUND, ENOENT,
				      "no '%s' in it", path);
	if (run->cli->json)
		output_json(&doc);
	else
		say_untitled(run, &a);
	return 0;
}
