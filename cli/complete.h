/*
 * What the word at the cursor of a shell may become: asked by the scripts of
 * cli/completion.c as `mops __complete WORD… CURRENT`, where CURRENT may be
 * empty. Everything comes from the tables of verbs, flags and settings; the
 * names of bundles, tags, roles and files from the cache, by the program's
 * words(). The network is never asked.
 *
 * A line for each, with what it means behind a tab; `:files` or `:dirs` asks
 * the shell for its own. A word that ends in a slash or '=' goes on.
 *
 * Threads: one.
 */
#ifndef CLI_COMPLETE_H
#define CLI_COMPLETE_H

#include "cli/args.h"

bool complete_asked(int argc, char *const *argv);
/* @words: the verb, and all up to the current one. The exit status. */
int complete_print(const struct program *p, char *const *words);

enum complete_kind {
	COMPLETE_REFERENCE,
	COMPLETE_NAME, /* of a bundle, without a version */
	COMPLETE_HOST, /* of a registry */
	COMPLETE_ROLE, /* of the reference on the line */
	COMPLETE_PATH, /* in that bundle */
};

struct complete_line {
	enum complete_kind kind;
	const char *text;      /* what there is of the word */
	const char *reference; /* the first one on the line, or NULL */
	const struct settings_flag *flags; /* that were given before */
	size_t n_flags;
};

/* Print @word if it begins as what there is. @help may be NULL. Words that
 * a terminal cannot be given as they are (base/escape.h) are left out. */
void complete_word(struct complete_out *out, const char *word,
		   const char *help);

#endif
