#include "cli/args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/strbuf.h"
#include "base/uri.h"
#include "cli/nearest.h"

/* Flags of every verb that are no settings. */
const struct arg_option args_common_options[] = {
	{"json", 0, NULL, false, "print one JSON object"},
	{"quiet", 'q', NULL, false, "print errors only"},
	{"verbose", 'v', NULL, true, "say more; twice: each HTTP request, too"},
	{"no-progress", 0, NULL, false, "no progress line on a terminal"},
	{"help", 'h', NULL, false, "print this help"},
	{NULL},
};

/* Names of settings have underscores in files and dashes on command lines. */
static bool names_setting(const struct setting_info *s, const char *name,
			  size_t len)
{
	if (!s->flag || strlen(s->name) != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (name[i] != (s->name[i] == '_' ? '-' : s->name[i]))
			return false;
	return true;
}

static const struct arg_option *find_option(const struct arg_option *table,
					    const char *name, size_t len)
{
	for (const struct arg_option *o = table; o && o->name; o++)
		if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
			return o;
	return NULL;
}

static const struct arg_option *find_letter(const struct arg_option *table,
					    char letter)
{
	for (const struct arg_option *o = table; o && o->name; o++)
		if (o->letter == letter)
			return o;
	return NULL;
}

bool args_find_flag(const struct verb *v, const char *name, size_t len,
		    struct arg_flag *ret)
{
	const struct setting_info *s;

	*ret = (struct arg_flag){.option = find_option(v->options, name, len)};
	if (ret->option)
		return true;
	ret->option = find_option(args_common_options, name, len);
	ret->common = ret->option;
	for (size_t i = 0; !ret->option && (s = settings_info(i)); i++)
		if (names_setting(s, name, len))
			ret->setting = s;
	return ret->option || ret->setting;
}

bool args_find_letter(const struct verb *v, char letter, struct arg_flag *ret)
{
	*ret = (struct arg_flag){.option = find_letter(v->options, letter)};
	if (ret->option)
		return true;
	ret->option = find_letter(args_common_options, letter);
	ret->common = true;
	return ret->option;
}

bool arg_flag_takes_value(const struct arg_flag *f)
{
	return f->setting ? !f->setting->is_switch : f->option->value != NULL;
}

const char *arg_flag_name(const struct arg_flag *f)
{
	return f->setting ? f->setting->name : f->option->name;
}

/* A flag as the user writes it. */
char *arg_dashed(const char *name)
{
	char *s = xasprintf("--%s", name);

	for (char *p = s; *p; p++)
		if (*p == '_')
			*p = '-';
	return s;
}

static void set_common(struct cli *cli, const char *name)
{
	if (!strcmp(name, "json"))
		cli->json = true;
	else if (!strcmp(name, "quiet"))
		cli->quiet = true;
	else if (!strcmp(name, "verbose"))
		cli->verbose++;
	else if (!strcmp(name, "no-progress"))
		cli->no_progress = true;
	else
		cli->want_help = true;
}

static bool setting_given(const struct cli *cli, const char *name)
{
	for (size_t i = 0; i < cli->n_flags; i++)
		if (!strcmp(cli->flags[i].name, name))
			return true;
	return false;
}

static int keep_flag(struct cli *cli, const struct arg_flag *f,
		     const char *value, struct error **errp)
{
	const char *name = arg_flag_name(f);
	bool again;

	if (f->common) {
		set_common(cli, name);
		return 0;
	}
	again = f->setting ? setting_given(cli, name)
			   : !f->option->repeats && cli_value(cli, name);
	if (again) {
		cleanup_free char *text = arg_dashed(name);

		return error_set(errp, EINVAL, "'%s' is given twice", text);
	}
	if (f->setting) {
		cli->flags = xrealloc(cli->flags, cli->n_flags + 1,
				      sizeof(*cli->flags));
		cli->flags[cli->n_flags++] =
			(struct settings_flag){name, value};
		return 0;
	}
	cli->values =
		xrealloc(cli->values, cli->n_values + 1, sizeof(*cli->values));
	cli->values[cli->n_values++] = (struct arg_value){name, value};
	return 0;
}

/* A walk over argv. */
struct walk {
	int argc, i;
	char *const *argv;
};

static const char *next_arg(struct walk *w)
{
	return w->i < w->argc ? w->argv[w->i++] : NULL;
}

static int parse_long(struct cli *cli, struct walk *w, const char *arg,
		      struct error **errp)
{
	const char *eq = strchr(arg, '=');
	size_t len = eq ? (size_t)(eq - arg) : strlen(arg);
	const char *value = eq ? eq + 1 : NULL;
	struct arg_flag f;

	if (!args_find_flag(cli->verb, arg, len, &f))
		return error_set(errp, EINVAL, "there is no flag '--%.*s'",
				 (int)len, arg);
	if (!arg_flag_takes_value(&f) && value)
		return error_set(errp, EINVAL, "'--%.*s' takes no value",
				 (int)len, arg);
	if (arg_flag_takes_value(&f) && !value)
		value = next_arg(w);
	if (arg_flag_takes_value(&f) && !value)
		return error_set(errp, EINVAL, "'--%.*s' needs a value",
				 (int)len, arg);
	return keep_flag(cli, &f, value ? value : "true", errp);
}

/* -qv, -o VALUE, -oVALUE */
static int parse_short(struct cli *cli, struct walk *w, const char *arg,
		       struct error **errp)
{
	for (const char *p = arg; *p; p++) {
		struct arg_flag f;
		const char *value = "true";
		int r;

		if (!args_find_letter(cli->verb, *p, &f))
			return error_set(errp, EINVAL, "there is no flag '-%c'",
					 *p);
		if (arg_flag_takes_value(&f)) {
			value = p[1] ? p + 1 : next_arg(w);
			if (!value)
				return error_set(errp, EINVAL,
						 "'-%c' needs a value", *p);
			return keep_flag(cli, &f, value, errp);
		}
		r = keep_flag(cli, &f, value, errp);
		if (r < 0)
			return r;
	}
	return 0;
}

static void keep_arg(struct cli *cli, const char *arg)
{
	cli->args = xrealloc(cli->args, cli->n_args + 2, sizeof(*cli->args));
	cli->args[cli->n_args++] = arg;
	cli->args[cli->n_args] = NULL;
}

static int check_count(const struct cli *cli, struct error **errp)
{
	const struct verb *v = cli->verb;

	if (cli->n_args < v->min_args)
		return error_set(errp, EINVAL, "'%s' needs more arguments: %s",
				 v->name, v->arguments);
	if (cli->n_args > v->max_args) {
		cleanup_free char *text =
			uri_without_secrets(cli->args[v->max_args]);

		return error_set(errp, EINVAL, "'%s' does not take '%s'",
				 v->name, text);
	}
	return 0;
}

static int parse_rest(struct cli *cli, struct walk *w, struct error **errp)
{
	bool flags = true;
	const char *arg;

	while ((arg = next_arg(w))) {
		int r = 0;

		if (flags && !strcmp(arg, "--"))
			flags = false;
		else if (flags && !strncmp(arg, "--", 2))
			r = parse_long(cli, w, arg + 2, errp);
		else if (flags && arg[0] == '-' && arg[1])
			r = parse_short(cli, w, arg + 1, errp);
		else
			keep_arg(cli, arg);
		if (r < 0)
			return r;
	}
	return cli->want_help ? 0 : check_count(cli, errp);
}

const struct verb *args_find_verb(const struct program *p, const char *name)
{
	for (const struct verb *v = p->verbs; v->name; v++)
		if (!strcmp(v->name, name))
			return v;
	return NULL;
}

static bool has_one_verb(const struct program *p)
{
	return p->verbs[0].name && !*p->verbs[0].name;
}

static int hint_help(const struct cli *cli, int r, struct error **errp)
{
	const struct verb *v = cli->verb;

	if (has_one_verb(cli->program))
		return error_hint(errp, r, "see '%s --help'",
				  cli->program->name);
	return error_hint(errp, r, "see '%s help%s%s'", cli->program->name,
			  v ? " " : "", v ? v->name : "");
}

int args_parse(const struct program *p, int argc, char *const *argv,
	       struct cli *ret, struct error **errp)
{
	struct walk w = {.argc = argc, .argv = argv, .i = 1};
	const char *name = has_one_verb(p) ? "" : next_arg(&w);
	int r;

	*ret = (struct cli){.program = p};
	/* An error on the way is printed as the caller asked, wherever the
	 * flag stands. */
	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
		ret->json |= !strcmp(argv[i], "--json");
	if (name && (!strcmp(name, "--help") || !strcmp(name, "-h"))) {
		ret->want_help = true;
		return 0;
	}
	if (name && !strcmp(name, "--version"))
		name = "version";
	if (!name)
		r = error_set(errp, EINVAL, "no command was given");
	else if (!(ret->verb = args_find_verb(p, name)))
		r = no_such_verb(p, name, errp);
	else
		r = parse_rest(ret, &w, errp);
	return r < 0 ? hint_help(ret, r, errp) : 0;
}

void cli_release(struct cli *cli)
{
	settings_release(&cli->settings);
	free(cli->args);
	free(cli->values);
	free(cli->flags);
	strv_free(cli->details);
	free(cli->findings);
	*cli = (struct cli){0};
}

const char *cli_value_at(const struct cli *cli, const char *name, size_t i)
{
	for (size_t k = 0; k < cli->n_values; k++)
		if (!strcmp(cli->values[k].name, name) && i-- == 0)
			return cli->values[k].value;
	return NULL;
}

const char *cli_value(const struct cli *cli, const char *name)
{
	const char *value = NULL;

	for (size_t k = 0; k < cli->n_values; k++)
		if (!strcmp(cli->values[k].name, name))
			value = cli->values[k].value;
	return value;
}

static void help_line(FILE *f, char letter, const char *name, const char *value,
		      const char *help)
{
	cleanup_strbuf struct strbuf left = STRBUF_INIT;
	cleanup_free char *text = arg_dashed(name);

	strbuf_addf(&left, "  %c%c%s %s", letter ? '-' : ' ',
		    letter ? letter : ' ', letter ? "," : " ", text);
	if (value)
		strbuf_addf(&left, " %s", value);
	fprintf(f, "%-32s %s\n", strbuf_str(&left), help);
}

static void help_options(FILE *f, const struct arg_option *table)
{
	for (const struct arg_option *o = table; o && o->name; o++)
		help_line(f, o->letter, o->name, o->value, o->help);
}

void args_help_verb(FILE *f, const struct program *p, const struct verb *v)
{
	const struct setting_info *s;

	fprintf(f, "usage: %s%s%s%s%s%s\n\n%s\n", p->name, *v->name ? " " : "",
		v->name, v->options ? " [FLAG]..." : "",
		*v->arguments ? " " : "", v->arguments, v->summary);
	if (v->options) {
		fprintf(f, "\nFlags:\n");
		help_options(f, v->options);
	}
	fprintf(f, "\nCommon flags:\n");
	help_options(f, args_common_options);
	for (size_t i = 0; (s = settings_info(i)); i++)
		if (s->flag &&
		    !find_option(v->options, s->name, strlen(s->name)))
			help_line(f, 0, s->name, s->is_switch ? NULL : "VALUE",
				  s->help);
}

void args_help_program(FILE *f, const struct program *p)
{
	fprintf(f,
		"usage: %s COMMAND [FLAG]... [ARGUMENT]...\n\n%s\n\n"
		"Commands:\n",
		p->name, p->summary);
	for (const struct verb *v = p->verbs; v->name; v++)
		fprintf(f, "  %-14s %s\n", v->name, v->summary);
	fprintf(f, "\n'%s help COMMAND' tells the flags of a command.\n",
		p->name);
}

bool cli_progress(const struct cli *cli)
{
	const char *ci = getenv("CI");

	return isatty(STDERR_FILENO) && !cli->json && !cli->quiet &&
	       !cli->no_progress && !(ci && !strcmp(ci, "true"));
}
