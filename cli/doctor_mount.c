/* doctor: what mopsfs says of mounts. */
#include <string.h>

#include "cli/doctor.h"
#include "storage/program.h"

static int take(const char *text, struct findings *f, struct error **errp)
{
	cleanup_json struct json *doc = NULL;
	const struct json *checks = NULL;
	int r = json_parse(text, strlen(text), &JSON_LIMITS_DOC, &doc, errp);

	if (r == 0)
		r = json_need_array(doc, "checks", &checks, errp);
	return r < 0 ? r : findings_take(f, checks, errp);
}

/* Its exit status is that of what it found. */
static int ask(const struct run *run, const char *path, struct findings *f,
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

	return r < 0 ? r : take(said, f, errp);
}

void doctor_mount(struct run *run, struct findings *f)
{
	cleanup_free char *path = run_mopsfs_path();
	cleanup_error struct error *err = NULL;

	run->op.deadline_ns = TIME_NEVER; /* programs have a limit */
	if (!path) {
		finding_bad(f, FINDING_NOTE, "mount", "install mopsfs",
			    "no mopsfs is installed: bundles are not mounted");
		return;
	}
	if (ask(run, path, f, &err) < 0) {
		error_prefix(&err, -err->code, "'%s doctor'", path);
		finding_error(f, "mount", err, "run it by hand");
	}
}
