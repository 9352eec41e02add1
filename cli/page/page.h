/*
 * A bundle as one page of HTML that needs nothing beside it: no script, style,
 * image or font from elsewhere, and its own policy says so to the browser. The
 * page is whole without its script, which only copies and shows details.
 */
#ifndef CLI_PAGE_PAGE_H
#define CLI_PAGE_PAGE_H

#include "cli/run.h"

/* @file appears under its name when it is whole. Fetches the trees of all
 * layers and roles, and nothing else. */
int page_write(struct run *run, struct bundle *b, const char *file,
	       struct error **errp);

#endif
