/*
 * Names for completion (cli/complete.h), from the cache: bundles that were
 * resolved or pushed here, their roles and files. No cache is made, the
 * network is not asked, and what cannot be read is silence.
 *
 * Threads: one.
 */
#ifndef CLI_WORDS_H
#define CLI_WORDS_H

#include "cli/complete.h"

void words_from_cache(const struct complete_line *line,
		      struct complete_out *out);

#endif
