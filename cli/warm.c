/* mops warm: a reference into the cache, or, by its mount, what a mount shows. */
#include <assert.h>
#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/alloc.h"
#include "cli/pull.h"
#include "cli/verbs.h"

/* Is it, perhaps dead, in a mount of some FUSE file system? */
static bool is_in_a_mount(const char *path)
{
	struct statfs st;

	if (statfs(path, &st) < 0)
		return errno == ENOTCONN;
	return (unsigned long)st.f_type == FUSE_SUPER_MAGIC;
}

static int run_mopsfs(const struct cli *cli, struct error **errp)
{
	const char *argv[10] = {"mopsfs", "warm"};
	cleanup_free char *path = run_mopsfs_path();
	size_t k = 2;

	if (cli->n_flags)
		return error_set(
			errp, EINVAL,
			"'%s' lies in a mount, which keeps its role "
			"and settings: only --json, --quiet, --verbose "
			"and --no-progress are for a path",
			cli->args[0]);
	if (cli->json)
		argv[k++] = "--json";
	if (cli->quiet)
		argv[k++] = "--quiet";
	if (cli->no_progress)
		argv[k++] = "--no-progress";
	if (cli->verbose)
		argv[k++] = cli->verbose > 1 ? "-vv" : "-v";
	argv[k++] = "--";
	argv[k] = cli->args[0];
	if (!path)
		return error_set(errp, ENOENT, "no 'mopsfs' is installed");
	execv(path, (char *const *)argv);
	return error_set_errno(errp, errno, "running 'mopsfs'");
}

int verb_warm(struct cli *cli, struct error **errp)
{
	cleanup_run struct run run = {0};
	cleanup_bundle struct bundle *b = NULL;
	cleanup_role_view struct role_view *v = NULL;
	int r;

	if (is_in_a_mount(cli->args[0]))
		return run_mopsfs(cli, errp);
	r = run_begin(cli, &run, errp);
	if (r == 0)
		r = run_role(&run, cli->args[0], &b, &v, errp);
	if (r < 0)
		return r;
	assert(v);
	return run_pull(&run, v, NULL, true, "warmed", errp);
}
