/*
 * An OCI image-layout folder on disk: opening, creating, its blobs, and its
 * index.json read and changed. What registry_layout.c is made of.
 *
 * Folder states: absent or empty (an empty registry); ours (oci-layout says
 * 1.0.0); anything else is refused, so that a mistyped path never gets an
 * index.json put between somebody's files.
 *
 * Threads: any; each call opens what it needs. Processes too.
 */
#ifndef STORAGE_LAYOUT_FOLDER_H
#define STORAGE_LAYOUT_FOLDER_H

#include <stdint.h>

#define LAYOUT_VERSION_FILE "oci-layout"
#define LAYOUT_VERSION_TEXT "{\"imageLayoutVersion\":\"1.0.0\"}"

#include "base/digest.h"
#include "base/op.h"
#include "storage/layout_index.h"

#define LAYOUT_BLOBS "blobs/sha256"

/* A descriptor of the folder; -ENOENT when there is none. */
int layout_open(const char *folder, struct error **errp);
/* The same; creates what is missing. */
int layout_prepare(const char *folder, struct error **errp);

/* 0 when the folder is empty or a layout. -EPROTO when it is neither. */
int layout_check(int dirfd, struct error **errp);

/* The index; an empty one when there is none. -EPROTO when malformed. */
int layout_read_index(int dirfd, struct layout_index *ret, struct error **errp);

/* A descriptor of a blob and its size; -ENOENT when absent. */
int layout_open_blob(int dirfd, const struct digest *d, uint64_t *ret_size,
		     struct error **errp);

/* A change to the index, alone: the lock is held from begin to release. */
struct layout_update {
	int dirfd; /* the caller's */
	int lockfd;
	struct layout_index idx;
};

#define LAYOUT_UPDATE_INIT                \
	{                                 \
		.dirfd = -1, .lockfd = -1 \
	}

int layout_update_begin(struct layout_update *u, int dirfd, const struct op *op,
			struct error **errp);
/* Durable when it returns 0. Nothing is written when nothing changed. */
int layout_update_commit(struct layout_update *u, struct error **errp);
void layout_update_release(struct layout_update *u);
#define cleanup_layout_update __attribute__((cleanup(layout_update_release)))

#endif
