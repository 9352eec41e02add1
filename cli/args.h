/*
 * The command line of mops and mopsfs: a table of verbs, each with a table of
 * options, and the common flags that every verb takes (the settings with a
 * flag, plus --json, -q, -v, --no-progress and --help).
 *
 * `--flag value` and `--flag=value` are the same; `--` ends the flags; flags
 * and arguments may mix. Whatever is not in a table is an error (exit 2), and
 * so is a flag twice unless its table says that it repeats.
 *
 * Threads: one.
 */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/error.h"
#include "engine/settings.h"

struct arg_option {
	const char *name;  /* without dashes; NULL ends a table */
	char letter;       /* 0: no short form */
	const char *value; /* what help calls the value; NULL: a switch */
	bool repeats;
	const char *help;
	const char *choices; /* all there are, "a|b|c"; NULL: any */
};

struct cli;

struct verb {
	/* NULL ends a table; "" in a table of one: no command is named. */
	const char *name;
	const char *arguments; /* as in help: "REF DIR [FILE]" */
	const char *summary;   /* one line */
	unsigned min_args, max_args;
	const struct arg_option *options; /* NULL: none of its own */
	/*
	 * Do it. Returns the exit status, or -errno with @errp set: the edge
	 * prints it and makes the status from its kind. NULL for "help".
	 */
	int (*run)(struct cli *cli, struct error **errp);
};

struct complete_line;
struct complete_out;

struct program {
	const char *name; /* "mops", "mopsfs" */
	const char *summary;
	const struct verb *verbs;
	/* What a line of a shell may go on with, as far as it is in no table
	 * (cli/complete.h); NULL: that is nothing. */
	void (*words)(const struct complete_line *line,
		      struct complete_out *out);
};

struct arg_value { /* a flag as given */
	const char *name;
	const char *value; /* "true" for switches */
};

/* One parsed command line. Strings lead into argv. */
struct cli {
	const struct program *program;
	const struct verb *verb;
	bool want_help;
	bool json, quiet, no_progress;
	unsigned verbose;
	const char **args; /* the plain arguments, NULL-ended */
	unsigned n_args;
	struct arg_value *values; /* the verb's own flags */
	size_t n_values;
	struct settings_flag *flags; /* common flags that are settings */
	size_t n_flags;
	struct settings settings; /* loaded by cli_main() */
	/* With --json: what belongs to the error that run() returns. */
	char **details; /* lines, NULL-ended, heap */
	char *findings; /* a JSON array, heap */
};

/*
 * Parse @argv (argv[0] is skipped). -EINVAL with a hint. @ret->verb may be
 * NULL only with want_help. On failure too, cli_release() it.
 */
int args_parse(const struct program *p, int argc, char *const *argv,
	       struct cli *ret, struct error **errp);
void cli_release(struct cli *cli);
/* Is a line of progress wanted, and is there a terminal for it? */
bool cli_progress(const struct cli *cli);
#define cleanup_cli __attribute__((cleanup(cli_release)))

/* The value of one of the verb's own flags, the last one given; NULL. */
const char *cli_value(const struct cli *cli, const char *name);
static inline bool cli_has(const struct cli *cli, const char *name)
{
	return cli_value(cli, name) != NULL;
}
/* The @i-th value of a flag that repeats; NULL behind the last one. */
const char *cli_value_at(const struct cli *cli, const char *name, size_t i);

/* What a flag on the command line turns out to be. */
struct arg_flag {
	const struct arg_option *option;    /* own or common, or */
	const struct setting_info *setting; /* a setting */
	bool common;
};
/* The @len bytes behind two dashes; the letter behind one. */
bool args_find_flag(const struct verb *v, const char *name, size_t len,
		    struct arg_flag *ret);
bool args_find_letter(const struct verb *v, char letter, struct arg_flag *ret);
bool arg_flag_takes_value(const struct arg_flag *f);
const char *arg_flag_name(const struct arg_flag *f);
/* A name as the user writes it, "--io-timeout". Heap. */
char *arg_dashed(const char *name);
/* Those of every verb that are no settings. */
extern const struct arg_option args_common_options[];

/* Help, printed from the tables. */
void args_help_program(FILE *f, const struct program *p);
void args_help_verb(FILE *f, const struct program *p, const struct verb *v);

/* A verb of the table by name, or NULL. */
const struct verb *args_find_verb(const struct program *p, const char *name);

/*
 * A whole main(): parse, set up the log, load settings, run the verb, print an
 * error once. `help [VERB]`, `--help` and `--version` are handled here. Returns
 * the exit status.
 */
int cli_main(const struct program *p, int argc, char *const *argv);

#endif
