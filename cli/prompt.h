/*
 * Asking the person at the terminal, on /dev/tty, so that standard input and
 * output may be pipes. Whatever signal ends or stops it, the terminal echoes
 * again; a secret is asked for once more when it goes on.
 *
 * Threads: one, after interrupt_catch().
 */
#ifndef CLI_PROMPT_H
#define CLI_PROMPT_H

#include <stdbool.h>

#include "base/error.h"

/* A line without its end, heap. With @secret it is not shown: wipe it.
 * -ENOTTY: there is nobody to ask; -ECANCELED. */
int prompt(const char *question, bool secret, char **ret, struct error **errp);

/* Standard input to its end, a line end behind it left out: for secrets, wipe
 * it. -EINVAL: nothing, several lines, a NUL, or too much. */
int prompt_stdin(char **ret, struct error **errp);

#endif
