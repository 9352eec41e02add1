/* What the main() of mops and of mopsfs have in common. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/secret.h"
#include "cli/args.h"
#include "cli/complete.h"
#include "cli/interrupt.h"
#include "cli/man_page.h"
#include "cli/nearest.h"
#include "cli/output.h"

static void set_up_log(const struct cli *cli)
{
	enum log_level level = LOG_LEVEL_WARN;

	if (cli->quiet)
		level = LOG_LEVEL_ERROR;
	else if (cli->verbose == 1)
		level = LOG_LEVEL_INFO;
	else if (cli->verbose == 2)
		level = LOG_LEVEL_DEBUG;
	else if (cli->verbose > 2)
		level = LOG_LEVEL_TRACE;
	log_set_name(cli->program->name);
	log_set_level(level);
}

/* A verb without run() is help itself: `help [VERB]`. */
static int print_help(const struct cli *cli, struct error **errp)
{
	const struct verb *v = cli->verb;

	if (v && !v->run && !cli->want_help)
		v = cli->n_args ? args_find_verb(cli->program, cli->args[0])
				: NULL;
	if (!v && cli->n_args)
		return no_such_verb(cli->program, cli->args[0], errp);
	if (v && !cli->want_help && man_page_show(cli->program, v))
		return 0;
	if (v)
		args_help_verb(stdout, cli->program, v);
	else
		args_help_program(stdout, cli->program);
	return 0;
}

static int run_verb(struct cli *cli, struct error **errp)
{
	int r;

	if (cli->want_help || !cli->verb->run)
		return print_help(cli, errp);
	secrets_stay_out_of_cores();
	r = settings_load(cli->flags, cli->n_flags, &cli->settings, errp);
	if (r < 0)
		return r;
	return cli->verb->run(cli, errp);
}

int cli_main(const struct program *p, int argc, char *const *argv)
{
	cleanup_error struct error *err = NULL;
	cleanup_cli struct cli cli = {0};
	int r;

	if (p->words && complete_asked(argc, argv))
		return complete_print(p, argv + 2);
	r = args_parse(p, argc, argv, &cli, &err);

	if (r >= 0) {
		set_up_log(&cli);
		r = run_verb(&cli, &err);
	}
	if (r >= 0) {
		int flushed = output_flush(&err);

		r = flushed < 0 ? flushed : r;
	}
	if (r >= 0)
		return r;
	if (interrupt_signal())
		return 128 + interrupt_signal();
	if (err) {
		const struct error_more more = {cli.details, cli.findings};

		output_error(p->name, cli.json, err, &more);
	}
	return output_exit_status(err);
}
