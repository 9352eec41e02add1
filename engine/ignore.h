/*
 * Ignore files: .mopsignore, with the syntax and the meaning of .gitignore
 * (gitignore(5)). Patterns are made NFC, as the paths are that they meet.
 *
 * One object is one file; which of several files decides is the caller's walk:
 * the deepest that has an opinion, and nothing below an ignored folder is asked
 * about.
 */
#ifndef ENGINE_IGNORE_H
#define ENGINE_IGNORE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define IGNORE_FILE_NAME ".mopsignore"
#define IGNORE_FILE_MAX  ((size_t)1 << 20)

struct ignore;

enum ignore_verdict {
	IGNORE_NO_OPINION,
	IGNORE_LEAVE_OUT,
	IGNORE_TAKE, /* a pattern with '!' */
};

/* @file is for messages, which say the line. Only text without an NFC form is
 * refused (-EINVAL): a pattern that makes no sense matches nothing, as in git.
 */
int ignore_parse(const char *buf, size_t n, const char *file,
		 struct ignore **ret, struct error **errp);

/* What the last pattern that matches says. @path is relative to the folder of
 * the ignore file. */
enum ignore_verdict ignore_match(const struct ignore *ig, const char *path,
				 size_t n, bool is_dir);

void ignore_free(struct ignore *ig);

#endif
