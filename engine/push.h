/*
 * Push: scan → plan → upload what is missing → trees → root → manifest → tag
 * last. The digest is a function of the inventory, the bundle file (name and
 * version apart) and the flags.
 *
 * Split in two: compose() makes every pushed byte except file content and pack
 * content, which are read again while they are sent; upload() sends.
 */
#ifndef ENGINE_PUSH_H
#define ENGINE_PUSH_H

#include "engine/plan.h"
#include "engine/session.h"

struct composed_blob {
	struct descriptor desc; /* in the manifest's order */
	/* One of these is where its bytes come from. */
	const void *mem;
	size_t mem_len;
	const struct inv_entry *file; /* or a range of a file */
	uint64_t file_off;
	struct pack *pack;
};

/* A bundle ready to be uploaded, exported or only named. */
struct composed {
	struct digest digest; /* of the manifest */
	struct strbuf manifest, root;
	struct composed_blob *blobs; /* manifest layers, then the root */
	size_t n_blobs;
	const struct plan_entry **externals; /* to be uploaded */
	size_t n_externals;
	uint64_t files, bytes;
	struct composed_priv *priv;
};
int compose(const struct inventory *inv, const struct bundle_file *bf,
	    const struct plan *plan, struct progress *progress,
	    struct composed *ret, struct error **errp);
void composed_release(struct composed *c);
#define cleanup_composed __attribute__((cleanup(composed_release)))

struct push_options {
	const char *dir;
	const char *to;    /* reference; NULL: name and version of the file */
	char *const *tags; /* further tags, NULL-ended or NULL */
	const struct plan_external *externals;
	size_t n_externals;
	bool follow_symlinks;
	bool dry_run;
	bool force;        /* upload blobs that are there already, too */
	bool pack_nothing; /* bench */
	int show_progress;
};

struct push_result {
	struct reference ref;
	struct digest digest;
	uint64_t files, bytes, unowned;
	uint64_t blobs_total, blobs_sent, bytes_sent;
	uint64_t externals_sent;
	bool tag_moved;  /* false: the tag had this digest already */
	char **warnings; /* NULL-ended */
};
void push_result_release(struct push_result *r);

int push(struct session *s, const struct push_options *o,
	 struct push_result *ret, const struct op *op, struct error **errp);

#endif
