/* mopsfs status */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/escape.h"
#include "base/json.h"
#include "cli/output.h"
#include "fs/control.h"
#include "fs/mountinfo.h"
#include "fs/verbs.h"

static int ask(const struct mount_entry *e, struct strbuf *ret,
	       struct error **errp)
{
	int r = control_ask(e->major, e->minor, "status", CONTROL_PATIENCE_S,
			    ret);

	if (r == -ENOENT || r == -EACCES) {
		error_set(errp, -r,
			  "no status socket of the mount on '%s' is found",
			  e->dir);
		return error_hint(errp, r,
				  "ask as the user who mounted it, with the "
				  "same XDG_RUNTIME_DIR");
	}
	if (r < 0)
		return error_set_errno(errp, -r, "asking the mount on '%s'",
				       e->dir);
	return 0;
}

static int64_t number(const struct json *j, const char *key)
{
	int64_t v = 0;

	json_int(json_get(j, key), &v);
	return v;
}

static void print_errors(const struct json *errors)
{
	for (const struct json *e = json_first(errors); e; e = json_next(e))
		print_line(stdout, "  failed: %lld at site %lld (%s)",
			   (long long)number(e, "count"),
			   (long long)number(e, "site"),
			   json_str(json_get(e, "name")));
}

static void print_filled(const struct json *f)
{
	if (number(f, "files") > 0)
		print_line(stdout,
			   "  filled: %lld small files, %s, before they were "
			   "read",
			   (long long)number(f, "files"),
			   output_size((uint64_t)number(f, "bytes")).str);
}

static void print_record(const struct json *r)
{
	if (r)
		print_line(stdout, "  recording: %s in '%s'%s",
			   output_size((uint64_t)number(r, "bytes")).str,
			   json_str(json_get(r, "file")),
			   json_bool(json_get(r, "full"), false)
				   ? "; it is full"
				   : "");
}

static void print_worker(const struct json *w)
{
	if (!json_bool(json_get(w, "survives"), true))
		print_line(stdout, "  when its worker dies the mount ends");
	else if (!json_bool(json_get(w, "resends"), true))
		print_line(stdout,
			   "  when its worker dies, what it was asked fails "
			   "(Linux 6.9 asks the next one)");
	if (number(w, "restarts") > 0)
		print_line(stdout,
			   "  worker: replaced %lld times, the last time "
			   "because %s",
			   (long long)number(w, "restarts"),
			   json_str(json_get(w, "last_end")));
}

static void print_prefetch(const struct json *p)
{
	const char *why = json_str(json_get(p, "why"));
	long long skipped = (long long)number(p, "skipped");

	if (!p)
		return;
	print_line(stdout, "  prefetch: %s, %s of %s to come%s%s",
		   json_str(json_get(p, "state")),
		   output_size((uint64_t)number(p, "bytes_left")).str,
		   output_size((uint64_t)number(p, "bytes")).str,
		   why ? "; " : "", why ? why : "");
	if (skipped)
		print_line(stdout, "  prefetch: %lld lines name nothing here",
			   skipped);
}

static void print_sandbox(const struct json *s)
{
	const char *lacks = json_str(json_get(s, "lacks"));

	if (!json_bool(json_get(s, "on"), true))
		print_line(stdout, "  sandbox: off");
	else if (lacks)
		print_line(stdout, "  sandbox: on, without %s", lacks);
}

static void print_text(const struct json *j)
{
	const struct json *path = json_get(j, "data_path");
	const struct json *fetch = json_get(j, "fetch");
	const struct json *requests = json_get(j, "requests");

	print_line(stdout, "%s: %s (%s), role %s, pid %lld",
		   json_str(json_get(j, "mountpoint")),
		   json_str(json_get(j, "reference")),
		   json_str(json_get(j, "digest")),
		   json_str(json_get(j, "role")), (long long)number(j, "pid"));
	print_line(stdout, "  data path: %s (%s)",
		   json_str(json_get(path, "mode")),
		   json_str(json_get(path, "why")));
	print_line(stdout,
		   "  reads: %lld, %s; %lld had to be fetched, %lld wait now",
		   (long long)number(requests, "read"),
		   output_size((uint64_t)number(j, "bytes_read")).str,
		   (long long)number(j, "misses"),
		   (long long)number(j, "parked"));
	print_line(stdout, "  network: %s in %lld requests, %lld in flight",
		   output_size((uint64_t)number(fetch, "bytes_network")).str,
		   (long long)number(fetch, "requests"),
		   (long long)number(fetch, "in_flight"));
	print_filled(json_get(j, "filled"));
	print_prefetch(json_get(j, "prefetch"));
	print_record(json_get(j, "record"));
	print_worker(json_get(j, "worker"));
	print_sandbox(json_get(j, "sandbox"));
	print_errors(json_get(j, "errors"));
}

/* One mount's answer, checked: the other end may be another version. */
static int show(const struct cli *cli, const struct strbuf *answer,
		struct error **errp)
{
	cleanup_json struct json *j = NULL;
	int r = json_parse(answer->buf, answer->len, &JSON_LIMITS_DOC, &j,
			   errp);

	if (r < 0)
		return error_prefix(errp, r, "the mount's answer");
	if (cli->json)
		output_json(answer);
	else
		print_text(j);
	return 0;
}

static int show_one(const struct cli *cli, const struct mount_list *mounts,
		    struct error **errp)
{
	cleanup_free char *dir = mountpoint_path(cli->args[0]);
	cleanup_strbuf struct strbuf answer = STRBUF_INIT;
	const struct mount_entry *e = dir ? mount_list_top(mounts, dir) : NULL;
	int r;

	if (!e || !mount_entry_is_ours(e))
		return error_set(errp, EINVAL, "'%s' is not a mount of mopsfs",
				 cli->args[0]);
	r = ask(e, &answer, errp);
	return r < 0 ? r : show(cli, &answer, errp);
}

static int show_all(const struct cli *cli, const struct mount_list *mounts,
		    struct error **errp)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_begin_array(&w, "mounts");
	for (size_t i = 0; i < mounts->n; i++) {
		cleanup_strbuf struct strbuf answer = STRBUF_INIT;
		cleanup_error struct error *err = NULL;
		cleanup_json struct json *j = NULL;

		if (!mount_entry_is_ours(&mounts->e[i]))
			continue;
		if (ask(&mounts->e[i], &answer, &err) < 0 ||
		    json_parse(answer.buf, answer.len, &JSON_LIMITS_DOC, &j,
			       &err) < 0)
			print_line(stderr, "%s: %s", cli->program->name,
				   err->message);
		else if (cli->json)
			json_put_value(&w, NULL, j);
		else
			print_text(j);
	}
	json_end_array(&w);
	json_end_object(&w);
	if (cli->json)
		output_json(&doc);
	return 0;
}

int verb_status(struct cli *cli, struct error **errp)
{
	cleanup_mount_list struct mount_list mounts = {0};
	int r = mount_list_read(&mounts);

	if (r < 0)
		return error_set_errno(errp, -r, "reading the list of mounts");
	return cli->n_args ? show_one(cli, &mounts, errp)
			   : show_all(cli, &mounts, errp);
}
