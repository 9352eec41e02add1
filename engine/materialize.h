/*
 * Materialize: write a role's files into a folder (docs/format.md, "What
 * materialize writes"). All conflicts are found before anything is written.
 */
#ifndef ENGINE_MATERIALIZE_H
#define ENGINE_MATERIALIZE_H

#include "engine/bundle.h"

enum mat_action { MAT_CREATED, MAT_UNCHANGED, MAT_REPLACED, MAT_CONFLICT };

struct materialize_options {
	const char *dest;
	bool overwrite;
	bool prefetch_external;
	bool writable;
	enum link_how link; /* LINK_AUTO … */
	const char *glob;   /* NULL: all */
	int show_progress;
};

struct materialize_result {
	uint64_t files, bytes;
	uint64_t created, unchanged, replaced;
	uint64_t linked, reflinked, copied, pointers;
	uint64_t bytes_network;
	char **conflicts; /* the first 20, NULL-ended */
	uint64_t n_conflicts;
};
void materialize_result_release(struct materialize_result *r);
#define cleanup_materialize_result \
	__attribute__((cleanup(materialize_result_release)))

/* Conflicts without overwrite: -EEXIST, kind ERROR_CONFLICT, nothing was
 * written, and @ret lists them. */
int materialize(struct role_view *v, const struct materialize_options *o,
		struct materialize_result *ret, const struct op *op,
		struct error **errp);

#endif
