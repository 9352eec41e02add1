#include "cli/complete.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/escape.h"
#include "base/strbuf.h"

#define ASKED "__complete"

struct complete_out {
	const char *text;   /* what words are to begin with, */
	const char *prefix; /* and what goes before: "--role=" */
	bool no_flags;      /* what would be taken for one is not offered */
};

bool complete_asked(int argc, char *const *argv)
{
	return argc > 2 && !strcmp(argv[1], ASKED);
}

/* The shell will show it as it is. */
static bool is_plain(const char *s)
{
	cleanup_free char *shown = escape_str(s);

	return !strcmp(shown, s);
}

void complete_word(struct complete_out *out, const char *word, const char *help)
{
	if (strncmp(word, out->text, strlen(out->text)) != 0 ||
	    !is_plain(word) || *word == ':' || (out->no_flags && *word == '-'))
		return;
	printf("%s%s\t%s\n", out->prefix, word, help ? help : "");
}

/* The line so far. */
struct scan {
	const struct program *program;
	const struct verb *verb;
	const char *reference;
	unsigned n_args;
	bool only_args;        /* behind "--" */
	struct arg_flag waits; /* the flag whose value is the current word */
	bool is_waiting;
	const char **given; /* names of flags */
	size_t n_given;
	struct settings_flag *flags;
	size_t n_flags;
};

static void scan_release(struct scan *s)
{
	free(s->given);
	free(s->flags);
}
#define cleanup_scan __attribute__((cleanup(scan_release)))

static void keep_flag(struct scan *s, const struct arg_flag *f,
		      const char *value)
{
	s->given = xrealloc(s->given, s->n_given + 1, sizeof(*s->given));
	s->given[s->n_given++] = arg_flag_name(f);
	if (!f->setting)
		return;
	s->flags = xrealloc(s->flags, s->n_flags + 1, sizeof(*s->flags));
	s->flags[s->n_flags++] =
		(struct settings_flag){arg_flag_name(f), value};
}

/* A flag of which the value is there, or not wanted, or the next word. */
static void take_flag(struct scan *s, const struct arg_flag *f,
		      const char *value)
{
	bool waits = !value && arg_flag_takes_value(f);

	if (waits)
		s->waits = *f;
	s->is_waiting = waits;
	if (!waits)
		keep_flag(s, f, value ? value : "true");
}

static void take_long(struct scan *s, const char *word)
{
	size_t n = strcspn(word, "=");
	struct arg_flag f;

	if (args_find_flag(s->verb, word, n, &f))
		take_flag(s, &f, word[n] ? word + n + 1 : NULL);
}

static void take_letters(struct scan *s, const char *word)
{
	struct arg_flag f;

	for (; *word && args_find_letter(s->verb, *word, &f); word++) {
		bool takes = arg_flag_takes_value(&f);

		take_flag(s, &f, takes && word[1] ? word + 1 : NULL);
		if (takes)
			return;
	}
}

static void take_word(struct scan *s, const char *word)
{
	if (s->is_waiting) {
		s->is_waiting = false;
		keep_flag(s, &s->waits, word);
	} else if (!s->only_args && !strcmp(word, "--")) {
		s->only_args = true;
	} else if (!s->only_args && !strncmp(word, "--", 2)) {
		take_long(s, word + 2);
	} else if (!s->only_args && word[0] == '-' && word[1]) {
		take_letters(s, word + 1);
	} else {
		if (!s->n_args++)
			s->reference = word;
	}
}

/*
 * What the current word may be.
 */

static void ask_program(const struct scan *s, enum complete_kind kind,
			struct complete_out *out)
{
	const struct complete_line line = {
		.kind = kind,
		.text = out->text,
		.reference = s->reference,
		.flags = s->flags,
		.n_flags = s->n_flags,
	};

	if (s->program->words)
		s->program->words(&line, out);
}

static void print_verbs(const struct scan *s, struct complete_out *out)
{
	for (const struct verb *v = s->program->verbs; v->name; v++)
		complete_word(out, v->name, v->summary);
}

/* "PATH" is a bundle's where a reference goes before. */
static void print_path(const struct scan *s, struct complete_out *out,
		       bool of_bundle)
{
	if (of_bundle)
		ask_program(s, COMPLETE_PATH, out);
	else
		printf(":files\n");
}

static void print_kind(const struct scan *s, const char *kind, size_t n,
		       bool first, struct complete_out *out)
{
	static const struct {
		const char *name;
		enum complete_kind kind;
	} kinds[] = {
		{"REF", COMPLETE_REFERENCE}, {"SRC", COMPLETE_REFERENCE},
		{"DST", COMPLETE_REFERENCE}, {"A", COMPLETE_REFERENCE},
		{"B", COMPLETE_REFERENCE},   {"NAME", COMPLETE_NAME},
		{"HOST", COMPLETE_HOST},     {"ROLE", COMPLETE_ROLE},
	};
	cleanup_free char *name = xstrndup(kind, n);

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(name, kinds[i].name))
			ask_program(s, kinds[i].kind, out);
	if (!strcmp(name, "DIR") || !strcmp(name, "A") || !strcmp(name, "B"))
		printf(":dirs\n");
	else if (!strcmp(name, "FILE") || !strcmp(name, "PATH=URI"))
		printf(":files\n");
	else if (!strcmp(name, "PATH"))
		print_path(s, out, !first);
	else if (!strcmp(name, "COMMAND"))
		print_verbs(s, out);
	else if (islower((unsigned char)*name) || isdigit((unsigned char)*name))
		complete_word(out, name, NULL);
}

/* "ls|du|REF": words as they are, and kinds of words. */
static void print_kinds(const struct scan *s, const char *kinds, size_t n,
			bool first, struct complete_out *out)
{
	const char *end = kinds + n;

	while (kinds < end) {
		size_t len = strcspn(kinds, "|");

		len = MIN(len, (size_t)(end - kinds));
		print_kind(s, kinds, len, first, out);
		kinds += len + 1;
	}
}

/* The word of "REF [PATH]" that the current one is. */
static void print_argument(const struct scan *s, struct complete_out *out)
{
	const char *p = s->verb->arguments;

	for (unsigned i = 0; *p; i++) {
		size_t n;

		p += strspn(p, " []");
		n = strcspn(p, " []");
		if (i == s->n_args)
			print_kinds(s, p, n, i == 0, out);
		p += n;
	}
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && !strcmp(s + n - m, end);
}

static void print_value(const struct scan *s, const struct arg_flag *f,
			struct complete_out *out)
{
	const char *kinds = f->option ? f->option->choices : NULL;
	const char *name = arg_flag_name(f);

	if (f->setting && !strcmp(name, "role"))
		kinds = "ROLE";
	else if (f->setting && ends_with(name, "_file"))
		kinds = "FILE";
	else if (f->setting && ends_with(name, "_dir"))
		kinds = "DIR";
	else if (f->option && !kinds && strcmp(f->option->value, "NAME") != 0)
		kinds = f->option->value;
	if (kinds)
		print_kinds(s, kinds, strlen(kinds), true, out);
}

static bool is_given(const struct scan *s, const char *name)
{
	for (size_t i = 0; i < s->n_given; i++)
		if (!strcmp(s->given[i], name))
			return true;
	return false;
}

static void print_flag(const struct scan *s, const char *name, bool repeats,
		       const char *help, struct complete_out *out)
{
	cleanup_free char *flag = arg_dashed(name);

	if (repeats || !is_given(s, name))
		complete_word(out, flag, help);
}

static void print_flags(const struct scan *s, struct complete_out *out)
{
	const struct setting_info *info;
	const struct arg_option *o;
	struct arg_flag own;

	for (o = s->verb->options; o && o->name; o++)
		print_flag(s, o->name, o->repeats, o->help, out);
	for (o = args_common_options; o->name; o++)
		print_flag(s, o->name, o->repeats, o->help, out);
	for (size_t i = 0; (info = settings_info(i)); i++) {
		cleanup_free char *flag = arg_dashed(info->name);

		/* A verb may have a flag of the same name. */
		if (info->flag &&
		    args_find_flag(s->verb, flag + 2, strlen(flag + 2), &own) &&
		    own.setting)
			print_flag(s, info->name, false, info->help, out);
	}
}

/* "--role=def": the value, behind what stays. */
static void print_value_behind(const struct scan *s, const char *word)
{
	size_t n = strcspn(word, "=");
	cleanup_free char *prefix = xstrndup(word, n + 1);
	struct complete_out out = {.text = word + n + 1, .prefix = prefix};
	struct arg_flag f;

	if (args_find_flag(s->verb, word + 2, n - 2, &f) &&
	    arg_flag_takes_value(&f))
		print_value(s, &f, &out);
}

static void print_current(const struct scan *s, const char *word)
{
	struct complete_out out = {.text = word, .prefix = ""};

	if (s->is_waiting) {
		print_value(s, &s->waits, &out);
	} else if (!s->only_args && !strncmp(word, "--", 2) &&
		   strchr(word, '=')) {
		print_value_behind(s, word);
	} else if (!s->only_args && *word == '-') {
		print_flags(s, &out);
	} else {
		out.no_flags = !s->only_args;
		print_argument(s, &out);
	}
}

int complete_print(const struct program *p, char *const *words)
{
	cleanup_scan struct scan s = {.program = p};
	struct complete_out out = {.text = words[0], .prefix = ""};

	if (!words[1]) {
		print_verbs(&s, &out);
		return 0;
	}
	s.verb = args_find_verb(p, words[0]);
	if (!s.verb)
		return 0;
	while ((++words)[1])
		take_word(&s, *words);
	print_current(&s, *words);
	return 0;
}
