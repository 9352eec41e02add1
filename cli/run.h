/*
 * What most verbs begin and end with: a session, a cancellable operation, the
 * bundle that a reference names, the summary line.
 *
 * Threads: one. SIGINT and SIGTERM cancel the operation (cli/interrupt.h); the
 * verb cleans up and returns, and cli_main() turns that into 130 or 143.
 */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include "base/op.h"
#include "cli/args.h"
#include "engine/bundle.h"
#include "engine/plan_rules.h"
#include "engine/session.h"
#include "engine/workspace.h"

struct run {
	struct cli *cli;
	struct session *session;
	struct op op;
	int64_t started_ns;
};

int run_begin(struct cli *cli, struct run *ret, struct error **errp);
void run_end(struct run *r);
#define cleanup_run __attribute__((cleanup(run_end)))

/* The reference of an argument, below the default registry. */
int run_reference(struct run *r, const char *text, struct reference *ret,
		  struct error **errp);
/* gc leaves its content alone while it is open. */
int run_bundle(struct run *r, const char *text, struct bundle **ret,
	       struct error **errp);
/* The bundle and its chosen role's tree. @ret_bundle outlives @ret_view. */
int run_role(struct run *r, const char *text, struct bundle **ret_bundle,
	     struct role_view **ret_view, struct error **errp);

/* Show a progress line? On a terminal, without --json, -q, --no-progress, CI. */
bool run_progress(const struct run *r);

/* The folder that is the first argument, or ".": scanned through the hash cache,
 * following symlinks with --follow-symlinks, with the sizes of what @ext
 * registers. NULL: nothing, and it is only looked at, so externals that were
 * not fetched are a warning. */
struct externals;
int run_workspace(struct run *r, const struct externals *ext,
		  struct workspace *ret, struct error **errp);
/* The same of any folder. */
int run_folder(struct run *r, const char *dir, const struct externals *ext,
	       struct workspace *ret, struct error **errp);
/* What --plan-version asks for; NULL: nothing. */
int run_plan_rules(const struct run *r, const struct plan_rules **ret,
		   struct error **errp);
/* The mopsfs that was installed with this program; else the one in PATH. Heap;
 * NULL: there is none. */
char *run_mopsfs_path(void);
/* Warnings on stderr; NULL-ended or NULL. */
void run_warn(char *const *warnings);

/* The summary line of a verb that moved data, on stderr; not with -q. */
struct summary {
	const struct reference *ref; /* or NULL */
	const struct digest *digest; /* or NULL */
	const char *role;            /* or NULL */
	uint64_t files, bytes;
	uint64_t bytes_network;
};
void run_summary(const struct run *r, const char *done,
		 const struct summary *s);

#endif
