/* doctor: what mopsfs says of mounts. */
#include <string.h>

#include "cli/doctor.h"
#include "storage/program.h"

static int take(const char *text, struct checks *k, struct error **errp)
{
	cleanup_json struct json *doc = NULL;
	const struct json *checks = NULL;
	int r = json_parse(text, strlen(text), &JSON_LIMITS_DOC, &doc, errp);

	if (r == 0)
		r = json_need_array(doc, "checks", &checks, errp);
	return r < 0 ? r : checks_take(k, checks, errp);
}

/* Its exit status is that of what it found. */
static int ask(const struct run *run, const char *path, struct checks *k,
	       struct error **errp)
{
	const char *argv[] = {path,
			      "doctor",
			      "--json",
			      "--cache-dir",
			      run->cli->settings.cache_dir,
			      NULL};
	cleanup_program_output char *said = NULL;
	int status;
	int r = program_run((char *const *)argv, "", &said, &status, &run->op,
			    errp);

	return r < 0 ? r : take(said, k, errp);
}

void doctor_mount(struct run *run, struct checks *k)
{
	cleanup_free char *path = run_mopsfs_path();
	cleanup_error struct error *err = NULL;

	run->op.deadline_ns = TIME_NEVER; /* programs have a limit */
	if (!path) {
		check_bad(k, CHECK_NOTE, "mount", "install mopsfs",
			  "no mopsfs is installed: bundles are not mounted");
		return;
	}
	if (ask(run, path, k, &err) < 0) {
		error_prefix(&err, -err->code, "'%s doctor'", path);
		check_error(k, "mount", err, "run it by hand");
	}
}
