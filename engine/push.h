/*
 * Push: scan → plan → compose → upload what is missing → tag last. The digest
 * is a function of the inventory, the bundle file (name and version apart) and
 * the flags.
 *
 * A tag that somebody else moved since it was last seen here is -ESTALE, before
 * anything is sent (engine/tag_guard.h).
 */
#ifndef ENGINE_PUSH_H
#define ENGINE_PUSH_H

#include "engine/compose.h"
#include "engine/session.h"
#include "engine/workspace.h"

struct push_options {
	const char *dir;
	const struct plan_rules *rules; /* NULL: the newest */
	const char *to;    /* reference; NULL: name and version of the file */
	char *const *tags; /* NULL-ended or NULL: beside the tag of @to, or in
			      place of the bundle file's version */
	const struct plan_external *externals;
	size_t n_externals;
	/* NULL, or "major", "minor", "patch": push under the version that
	 * follows the bundle file's, and let the file say so afterwards. */
	const char *bump;
	const char *trace; /* a file to attach; NULL */
	bool follow_symlinks;
	bool dry_run;      /* ask what is missing, upload nothing */
	bool force;        /* move a tag that somebody else moved, too */
	bool reupload;     /* upload blobs that are there already, too */
	bool pack_nothing; /* bench only */
	bool show_progress;
};

struct push_result {
	struct reference ref;
	struct digest digest;
	uint64_t files, bytes, unowned;
	uint64_t blobs_total, blobs_sent, bytes_sent;
	uint64_t externals_sent;
	bool has_trace;
	struct digest trace; /* of the manifest that refers to this one */
	bool tag_moved;      /* false: the tag had this digest already */
	char **warnings;     /* NULL-ended */
};
void push_result_release(struct push_result *r);
#define cleanup_push_result __attribute__((cleanup(push_result_release)))

/* With @o->dry_run the counts are of what would be sent. */
int push(struct session *s, const struct push_options *o,
	 struct push_result *ret, const struct op *op, struct error **errp);

#endif
