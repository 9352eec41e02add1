/*
 * The sources that some files of a role need, each opened once, and bringing
 * them all into the cache.
 *
 * Threads: one; when nothing is added any more, any may look.
 */
#ifndef ENGINE_SOURCE_SET_H
#define ENGINE_SOURCE_SET_H

#include "engine/bundle.h"
#include "engine/chunk_set.h"
#include "engine/glob.h"

struct source_set;

struct file_choice {
	const struct glob *glob; /* NULL: all */
	const char *beneath;     /* a folder, or one file; NULL: the role */
	bool externals;
	/* Files that were chosen before, which do not count; NULL: none. */
	struct chunk_set *before;
};

struct file_counts {
	uint64_t chosen;       /* files, also those that were before */
	uint64_t files, bytes; /* of those that were not */
};

/* @v outlives it. */
struct source_set *source_set_new(struct role_view *v);
void source_set_free(struct source_set *s);
static inline void source_set_freep(struct source_set **s)
{
	if (*s)
		source_set_free(*s);
	*s = 0;
}
#define cleanup_source_set __attribute__((cleanup(source_set_freep)))

/* Source @index of the role's tree; twice is fine. */
int source_set_add(struct source_set *s, uint32_t index, struct error **errp);
/* Those of all the role's files that @which is about, in the tree's order, and
 * what these files are. */
int source_set_add_files(struct source_set *s, const struct file_choice *which,
			 struct file_counts *ret, struct error **errp);
/* All, in the order in which they were added; as long as nothing is added. */
size_t source_set_count(const struct source_set *s);
struct fetch_source *source_set_at(const struct source_set *s, size_t i);
/* One that was added. */
struct fetch_source *source_set_get(const struct source_set *s, uint32_t index);
/* Bytes of the sources that are not in the cache. */
uint64_t source_set_missing(const struct source_set *s);

/* fetch_whole() of all, with a line of progress. */
int source_set_fetch(struct source_set *s, const char *verb, int show_progress,
		     uint64_t *ret_bytes_network, const struct op *op,
		     struct error **errp);

#endif
