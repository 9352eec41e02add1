/* The manual page of a command, on a terminal. */
#ifndef CLI_MAN_PAGE_H
#define CLI_MAN_PAGE_H

#include <stdbool.h>

#include "cli/args.h"

/* False when standard output is no terminal, or man(1) or the page is not
 * here: then nothing was shown. */
bool man_page_show(const struct program *p, const struct verb *v);

#endif
