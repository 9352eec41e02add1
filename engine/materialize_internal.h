/*
 * What the files of materialize share. Not for others.
 *
 * materialize.c        the order of things
 * materialize_plan.c   what the role wants, what is there, what to do
 * materialize_file.c   one file's bytes into the staging folder
 * materialize_place.c  from the staging folder to final names
 */
#ifndef ENGINE_MATERIALIZE_INTERNAL_H
#define ENGINE_MATERIALIZE_INTERNAL_H

#include <stdatomic.h>

#include "base/pool.h"
#include "base/progress.h"
#include "engine/glob.h"
#include "engine/materialize.h"
#include "engine/source_set.h"

#define MAT_CONFLICTS_MAX 20 /* listed by name */

enum mat_kind {
	MAT_DIR,
	MAT_FILE,
	MAT_SYMLINK,
	MAT_POINTER,   /* .mops/ptr/…: of the external at this node */
	MAT_PROVENANCE /* node unused */
};

/* One thing that the role wants to be there, in the order of the tree. */
struct mat_entry {
	uint32_t node;
	uint8_t kind;    /* enum mat_kind */
	uint8_t action;  /* enum mat_action */
	bool compare;    /* looks alike: its content is to be hashed */
	bool folder_was; /* an empty folder is in its way */
};

struct mat {
	struct role_view *v;
	const struct materialize_options *o;
	struct materialize_result *out;
	const struct op *op;
	struct cache *cache;
	struct fetcher *fetcher;
	struct glob *glob; /* NULL: all */
	int dest;          /* -1: not there yet */
	int lock;          /* .mops, flocked; -1 */
	int stage;         /* .mops/tmp */
	struct mat_entry *entries;
	size_t n, cap;
	struct source_set *set;
	struct pool *pool;
	struct progress *progress;
	bool stream; /* the cache is full: do not go through it */
	atomic_uint_fast64_t linked, reflinked, copied;
};

/* materialize_plan.c: fills entries, actions and the counts of out. */
int mat_plan(struct mat *m, struct error **errp);
bool mat_writes(const struct mat_entry *e);

/* The node and path of an entry; the path in the workdir, pointers' too. */
int mat_entry_path(struct mat *m, const struct mat_entry *e,
		   struct strbuf *path, struct tree_node *ret_n,
		   struct error **errp);
/* The bytes of a pointer file or of the provenance document. */
int mat_document(struct mat *m, const struct mat_entry *e, struct strbuf *out,
		 struct error **errp);
/* Its source, when a file is to be written for the node at all. */
int mat_node_source(struct mat *m, const struct tree_node *n,
		    struct tree_source *ret, struct error **errp);

/* materialize_file.c: the entry's content, under the name of its number. */
int mat_stage_entry(struct mat *m, size_t i, struct error **errp);

/* materialize_place.c */
/* Lock .mops, which is made if @make; else nothing happens without it. */
int mat_lock(struct mat *m, bool make, struct error **errp);
int mat_stage_open(struct mat *m, struct error **errp);
int mat_place(struct mat *m, struct error **errp);
void mat_stage_close(struct mat *m);
struct mat_name {
	char str[24];
};
struct mat_name mat_stage_name(size_t i);

#endif
