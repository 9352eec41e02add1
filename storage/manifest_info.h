/*
 * What a store of manifests must know about one: what it is, which blobs it
 * needs, what it is about. A bundle's own rules are checked by who reads it.
 */
#ifndef STORAGE_MANIFEST_INFO_H
#define STORAGE_MANIFEST_INFO_H

#include <stdbool.h>
#include <stddef.h>

#include "base/digest.h"
#include "storage/descriptor.h"

struct manifest_info {
	/* As a referrers list shows it: annotations are the manifest's own,
	 * artifact_type falls back to the config's media type. */
	struct descriptor self;
	struct descriptor *needs; /* config and layers, or manifests */
	size_t n_needs;
	bool is_index; /* @needs are manifests */
	bool has_subject;
	struct digest subject;
};

/*
 * @media_type NULL: as the document says, or follows from its members. A
 * document that says otherwise than @media_type, that has both `layers` and
 * `manifests`, or neither, is -EINVAL.
 */
int manifest_info_parse(const void *buf, size_t len, const char *media_type,
			struct manifest_info *ret, struct error **errp);
/* Is it about @subject, and of @artifact_type (NULL: any)? */
bool manifest_info_refers(const struct manifest_info *m,
			  const struct digest *subject,
			  const char *artifact_type);
void manifest_info_release(struct manifest_info *m);
#define cleanup_manifest_info __attribute__((cleanup(manifest_info_release)))

#endif
