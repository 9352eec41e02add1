/*
 * doctor: what this machine can do, and how to mend what is missing. Nothing
 * here decides how anything is done: each check asks the code that does it.
 */
#include "cli/doctor.h"

#include "base/escape.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/verbs.h"

static void put_settings(const void *ctx, struct json_writer *w)
{
	const struct settings *set = ctx;
	const struct setting_info *info;

	json_begin_array(w, "settings");
	for (size_t i = 0; (info = settings_info(i)); i++) {
		const char *origin = NULL;
		cleanup_free char *value =
			settings_value(set, info->name, &origin);

		json_begin_object(w, NULL);
		json_put_str(w, "name", info->name);
		output_put_text(w, "origin", origin);
		output_put_text(w, "value", value);
		json_end_object(w);
	}
	json_end_array(w);
}

static void print_settings(const struct settings *set)
{
	const struct setting_info *info;

	for (size_t i = 0; (info = settings_info(i)); i++) {
		const char *origin = NULL;
		cleanup_free char *value =
			settings_value(set, info->name, &origin);

		print_line(stdout, "setting  %-17s %s (%s)", info->name,
			   *value ? value : "-", origin);
	}
}

int verb_doctor(struct cli *cli, struct error **errp)
{
	cleanup_run struct run run = {0};
	cleanup_checks struct checks k = {0};
	int r = run_begin(cli, &run, errp);

	if (r < 0)
		return r;
	doctor_cache(&run, &k);
	doctor_net(&run, cli->n_args ? cli->args[0] : NULL, &k);
	doctor_mount(&run, &k);
	if (op_cancelled(&run.op))
		return error_set(errp, ECANCELED, "cancelled");
	if (cli->json) {
		checks_print_json(&k, put_settings, &cli->settings);
	} else {
		checks_print(&k, cli->quiet);
		if (!cli->quiet)
			print_settings(&cli->settings);
	}
	return checks_exit_status(&k);
}
