#include "cli/run.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/escape.h"
#include "base/log.h"
#include "cli/external.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "storage/program.h"

int run_begin(struct cli *cli, struct run *ret, struct error **errp)
{
	*ret = (struct run){
		.cli = cli,
		.op = {.deadline_ns = TIME_NEVER,
		       .cancelled = interrupt_flag()},
		.started_ns = time_mono_ns(),
	};
	interrupt_catch();
	return session_new(&cli->settings, &ret->session, errp);
}

void run_end(struct run *r)
{
	session_freep(&r->session);
}

int run_reference(struct run *r, const char *text, struct reference *ret,
		  struct error **errp)
{
	return reference_parse(text, r->cli->settings.registry, ret, errp);
}

int run_bundle(struct run *r, const char *text, struct bundle **ret,
	       struct error **errp)
{
	cleanup_reference struct reference ref = {0};
	cleanup_error struct error *err = NULL;
	int rc = run_reference(r, text, &ref, errp);

	if (rc == 0)
		rc = bundle_open(r->session, &ref, &r->op, ret, errp);
	if (rc < 0)
		return rc;
	/* On a full disk, or one that is read alone, it is done without. */
	if (bundle_keep_content(*ret, &err) < 0)
		log_debug("%s", err->message);
	return 0;
}

int run_role(struct run *r, const char *text, struct bundle **ret_bundle,
	     struct role_view **ret_view, struct error **errp)
{
	const struct root_role *role;
	int rc = run_bundle(r, text, ret_bundle, errp);

	if (rc == 0)
		rc = bundle_choose_role(*ret_bundle, NULL, &role, errp);
	if (rc == 0)
		rc = role_view_open(*ret_bundle, role, &r->op, ret_view, errp);
	return rc;
}

bool run_progress(const struct run *r)
{
	return cli_progress(r->cli);
}

int run_folder(struct run *r, const char *dir, const struct externals *ext,
	       struct workspace *ret, struct error **errp)
{
	struct workspace_options o = {
		.follow_symlinks = cli_has(r->cli, "follow-symlinks"),
		.externals = ext ? ext->v : NULL,
		.n_externals = ext ? ext->n : 0,
		.sizes_only = true,
		.unfetched_warn = !ext,
		.progress = progress_new("scanning", run_progress(r)),
		.op = &r->op,
	};
	int rc = workspace_open(r->session, dir, &o, ret, errp);

	progress_free(o.progress);
	return rc;
}

int run_workspace(struct run *r, const struct externals *ext,
		  struct workspace *ret, struct error **errp)
{
	return run_folder(r, r->cli->n_args ? r->cli->args[0] : ".", ext, ret,
			  errp);
}

int run_plan_rules(const struct run *r, const struct plan_rules **ret,
		   struct error **errp)
{
	const char *text = cli_value(r->cli, "plan-version");

	*ret = NULL;
	return text ? plan_rules_find(text, ret, errp) : 0;
}

char *run_mopsfs_path(void)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (slash) {
		cleanup_free char *beside =
			xasprintf("%.*s/mopsfs", (int)(slash - self), self);

		if (access(beside, X_OK) == 0)
			return steal_ptr(&beside);
	}
	return program_find("mopsfs");
}

void run_warn(char *const *warnings)
{
	for (; warnings && *warnings; warnings++)
		print_line(stderr, "mops: warning: %s", *warnings);
}

void run_summary(const struct run *r, const char *done, const struct summary *s)
{
	double seconds = (double)(time_mono_ns() - r->started_ns) / NS_PER_S;
	uint64_t local =
		s->bytes > s->bytes_network ? s->bytes - s->bytes_network : 0;
	cleanup_strbuf struct strbuf line = STRBUF_INIT;

	if (r->cli->quiet)
		return;
	strbuf_adds(&line, done);
	if (s->ref) {
		cleanup_free char *name = reference_str(s->ref);

		strbuf_addf(&line, " %s", name);
	}
	if (s->digest && !(s->ref && s->ref->has_digest))
		strbuf_addf(&line, " %s", digest_to_str(s->digest).str);
	if (s->role)
		strbuf_addf(&line, ", role %s", s->role);
	strbuf_addf(&line, ": %llu files, %s (%s network, %s cache), %.1f s",
		    (unsigned long long)s->files, output_size(s->bytes).str,
		    output_size(s->bytes_network).str, output_size(local).str,
		    seconds);
	print_line(stderr, "%s", strbuf_str(&line));
}
