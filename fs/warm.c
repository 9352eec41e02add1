/* mopsfs warm */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/escape.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/time.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "fs/control.h"
#include "fs/mountinfo.h"
#include "fs/verbs.h"

#define ASK_AGAIN_MS 200

/* How far it is, as the mount says. */
struct progress_now {
	uint64_t files, bytes, left;
	bool ended;
};

/* The mount that @path lies in, and what is left of it there. */
static const struct mount_entry *mount_of_path(const struct mount_list *mounts,
					       const char *path,
					       const char **ret_rest)
{
	cleanup_free char *dir = xstrdup(path);

	for (;;) {
		const struct mount_entry *e =
			mount_list_top(mounts, *dir ? dir : "/");
		char *slash;

		if (e) {
			*ret_rest = path + strlen(dir);
			*ret_rest += **ret_rest == '/';
			return e;
		}
		slash = strrchr(dir, '/');
		if (!slash)
			return NULL;
		*slash = '\0';
	}
}

static uint64_t number(const struct json *j, const char *key)
{
	int64_t v = 0;

	json_int(json_get(j, key), &v);
	return v < 0 ? 0 : (uint64_t)v;
}

static int take(const struct strbuf *answer, struct progress_now *ret,
		struct error **errp)
{
	cleanup_json struct json *j = NULL;
	int r = json_parse(answer->buf, answer->len, &JSON_LIMITS_DOC, &j,
			   errp);
	const char *state, *why;

	if (r < 0)
		return error_prefix(errp, r, "the mount's answer");
	state = json_str(json_get(j, "state"));
	why = json_str(json_get(j, "why"));
	if (state && !strcmp(state, "failed"))
		return error_set_kind(errp, ERROR_DOWNLOAD, EIO, "%s",
				      why ? why : "it failed");
	ret->files = number(j, "files");
	ret->bytes = number(j, "bytes");
	ret->left = number(j, "bytes_left");
	ret->ended = state && !strcmp(state, "done");
	return 0;
}

static int ask(const struct mount_entry *e, const char *what,
	       struct progress_now *ret, struct error **errp)
{
	cleanup_strbuf struct strbuf answer = STRBUF_INIT;
	int r = control_ask(e->major, e->minor, what, CONTROL_PATIENCE_S,
			    &answer);

	if (r == 0)
		return take(&answer, ret, errp);
	error_set_errno(errp, -r, "asking the mount on '%s'", e->dir);
	if (r == -ENOENT || r == -EACCES)
		error_hint(errp, r, "ask as the user who mounted it");
	return r;
}

static int warm(const struct mount_entry *e, const char *path, bool show,
		struct progress_now *now, struct error **errp)
{
	cleanup_free char *what = xasprintf("warm %s", path);
	struct progress *progress = progress_new("warming", show);
	uint64_t total = 0, seen = 0;
	int r = ask(e, what, now, errp);

	while (r == 0 && !now->ended) {
		/* The first answers come before the tree was walked. */
		if (now->left > total) {
			total = now->left;
			progress_total(progress, now->files, total);
		}
		progress_add(progress, 0, total - now->left - seen);
		seen = total - now->left;
		time_sleep_ms(ASK_AGAIN_MS);
		if (op_cancelled(&(struct op){.cancelled = interrupt_flag()}))
			r = error_set(errp, ECANCELED, "cancelled");
		else
			r = ask(e, what, now, errp);
	}
	progress_free(progress);
	return r;
}

static void show_result(const struct cli *cli, const char *path,
			const struct progress_now *now)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	if (!cli->json) {
		if (!cli->quiet)
			print_line(stderr, "warmed %s: %llu files, %s", path,
				   (unsigned long long)now->files,
				   output_size(now->bytes).str);
		return;
	}
	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	json_put_int(&w, "bytes", (int64_t)now->bytes);
	json_put_int(&w, "files", (int64_t)now->files);
	json_put_str(&w, "path", path);
	json_end_object(&w);
	output_json(&doc);
}

int verb_warm(struct cli *cli, struct error **errp)
{
	cleanup_mount_list struct mount_list mounts = {0};
	cleanup_free char *path = mountpoint_path(cli->args[0]);
	const struct mount_entry *e;
	struct progress_now now = {0};
	const char *rest = NULL;
	struct stat st;
	int r;

	/* Whatever else is wrong with it, its mount will say. */
	if (!path || (lstat(path, &st) < 0 && errno == ENOENT))
		return error_set_kind(errp, ERROR_NOT_FOUND, ENOENT,
				      "there is no '%s'", cli->args[0]);
	r = mount_list_read(&mounts);
	if (r < 0)
		return error_set_errno(errp, -r, "reading the list of mounts");
	e = mount_of_path(&mounts, path, &rest);
	if (!e || !mount_entry_is_ours(e))
		return error_set_kind(errp, ERROR_VALIDATION, EINVAL,
				      "'%s' is not in a mount of mopsfs",
				      cli->args[0]);
	interrupt_catch();
	r = warm(e, rest, cli_progress(cli), &now, errp);
	if (r == 0)
		show_result(cli, cli->args[0], &now);
	return r;
}
