/*
 * Copy: a manifest or an index, all that it names and what refers to it, from
 * one repository to another, of any two registries. No byte is changed, so the
 * digest stays.
 *
 * Each blob is hashed on its way (engine/copy_feed.h), unless the registry has
 * it already or takes it over from another of its repositories; of a bundle
 * the trees are looked at before anything is sent (engine/role_tree.h). The tag
 * moves last, and not from what somebody else put there (engine/tag_guard.h).
 * Externals stay where they are: it is their URIs that are copied.
 */
#ifndef ENGINE_COPY_H
#define ENGINE_COPY_H

#include "engine/session.h"

struct copy_options {
	bool dry_run; /* ask what is missing, send nothing */
	bool force;   /* move a tag that somebody else moved, too */
	bool show_progress;
};

struct copy_result {
	struct digest digest;
	uint64_t blobs, bytes; /* all that there are */
	uint64_t blobs_sent, bytes_sent;
	uint64_t blobs_mounted; /* taken over from another repository */
	uint64_t referrers;
	bool tag_moved; /* false: the tag had this digest already, or none was
			   asked for */
};

/* A @to with a digest wants that one; with a digest and without a tag, none is
 * moved. With @o->dry_run the counts are of what would be sent or taken over
 * together, as sent. */
int copy_artifact(struct session *s, const struct reference *from,
		  const struct reference *to, const struct copy_options *o,
		  struct copy_result *ret, const struct op *op,
		  struct error **errp);

#endif
