/* mops verify --cache. */
#ifndef CLI_VERIFY_CACHE_H
#define CLI_VERIFY_CACHE_H

#include "cli/run.h"

int run_verify_cache(struct run *run, struct error **errp);

#endif
