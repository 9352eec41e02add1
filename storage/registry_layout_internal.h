/*
 * The parts of the layout registry: names and removal (registry_layout.c),
 * blobs, manifests. The operations are those of storage/registry.h.
 */
#ifndef STORAGE_REGISTRY_LAYOUT_INTERNAL_H
#define STORAGE_REGISTRY_LAYOUT_INTERNAL_H

#include "storage/layout_folder.h"
#include "storage/registry.h"

struct registry_layout {
	struct registry registry;
	char *folder; /* absolute */
};

static inline struct registry_layout *layout_of(struct registry *r)
{
	return (struct registry_layout *)r;
}

/* What an operation on @repo begins with: the index as it is now, and a
 * descriptor of the folder. A missing folder has an empty index and leaves
 * *@ret_dirfd alone. @tag may be NULL; -EINVAL for names that are none. */
int layout_look(struct registry *r, const char *repo, const char *tag,
		int *ret_dirfd, struct layout_index *ret, struct error **errp);

/* A descriptor of the blobs' folder, made when it is not there. */
int layout_open_blobs_dir(int dirfd, struct error **errp);
/* A blob that is there but damaged is replaced: its name says what it must
 * be, and the staged bytes are that. */
int layout_store_blob(int blobsfd, const struct digest *d, struct feed *feed,
		      const struct op *op, struct error **errp);

int layout_has_blob(struct registry *r, const char *repo,
		    const struct digest *d, uint64_t *ret_size,
		    const struct op *op, struct error **errp);
int layout_read_blob(struct registry *r, const char *repo,
		     const struct digest *d, uint64_t size, uint64_t off,
		     uint64_t len, struct sink *sink, const struct op *op,
		     struct error **errp);
int layout_put_blob(struct registry *r, const char *repo,
		    const struct digest *d, struct feed *feed,
		    const struct op *op, struct error **errp);
int layout_mount_blob(struct registry *r, const char *repo,
		      const char *from_repo, const struct digest *d,
		      const struct op *op, struct error **errp);

int layout_get_manifest(struct registry *r, const char *repo,
			const struct digest *d, struct manifest_bytes *ret,
			const struct op *op, struct error **errp);
int layout_put_manifest(struct registry *r, const char *repo, const char *tag,
			const char *media_type, const void *buf, size_t len,
			const struct op *op, struct error **errp);
int layout_referrers(struct registry *r, const char *repo,
		     const struct digest *subject, const char *artifact_type,
		     struct descriptor **ret, size_t *ret_n,
		     const struct op *op, struct error **errp);

#endif
