/*
 * mount.mopsfs: what mount(8) runs for `mount -t mopsfs`, with its flags and its
 * exit statuses. Everything else is as with `mopsfs mount`.
 */
#include <errno.h>

#include "base/alloc.h"
#include "cli/output.h"
#include "fs/verbs.h"

/* Of mount(8). */
enum {
	STATUS_USAGE = 1,
	STATUS_SYSTEM = 2,
	STATUS_INTERRUPTED = 8,
	STATUS_FAILED = 32,
};

static const struct arg_option helper_options[] = {
	{"options", 'o', "LIST", true, "mount options, as of 'mopsfs mount'"},
	{"sloppy", 's', NULL, false, "pass over unknown mount options"},
	{"fake", 'f', NULL, false, "check everything, and mount nothing"},
	{"no-mtab", 'n', NULL, false, "for mount(8): there is no mtab"},
	{"read-only", 'r', NULL, false, "for mount(8): it always is"},
	{"read-write", 'w', NULL, false, "for mount(8): it is read-only"},
	{"types", 't', "TYPE", false, "for mount(8): mopsfs[.SUBTYPE]"},
	{NULL},
};

static int status_of(enum mount_stage stage, int code)
{
	static const int lacks[] = {EAGAIN, EMFILE, ENFILE, ENOMEM};

	if (stage == MOUNT_READING)
		return STATUS_USAGE;
	for (size_t i = 0; i < ARRAY_SIZE(lacks); i++)
		if (code == lacks[i])
			return STATUS_SYSTEM;
	return stage == MOUNT_STARTING ? STATUS_SYSTEM : STATUS_FAILED;
}

static bool was_run;

/* mount(8) says nothing when all is well. */
static int run(struct cli *cli, struct error **errp)
{
	const struct error_more more = {NULL, NULL};
	cleanup_error struct error *err = NULL;
	enum mount_stage stage;
	int r;

	was_run = true;
	cli->quiet = !cli->verbose;
	r = mount_run(cli, true, &stage, &err);
	if (r < 0) {
		output_error(cli->program->name, cli->json, err, &more);
		return status_of(stage, -r);
	}
	return r == EXIT_STATUS_SIGINT || r == EXIT_STATUS_SIGTERM
		       ? STATUS_INTERRUPTED
		       : r;
}

static const struct verb verbs[] = {
	{"", "REF DIR", "show a bundle as a read-only folder, for mount(8)", 2,
	 2, helper_options, run},
	{NULL},
};

static const struct program mount_mopsfs = {
	.name = "mount.mopsfs",
	.summary = "What mount(8) runs for 'mount -t mopsfs'.",
	.verbs = verbs,
};

int mount_helper_main(int argc, char *const *argv)
{
	int status = cli_main(&mount_mopsfs, argc, argv);

	return was_run || status == 0 ? status : STATUS_USAGE;
}
