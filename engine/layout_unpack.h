/*
 * An OCI image layout in one tar, as "mops export --oci" and other tools write
 * it, unpacked. Their headers need not be ours (engine/tar.h): what an entry is
 * lies in its name, and what is in a blob is told by its digest.
 */
#ifndef ENGINE_LAYOUT_UNPACK_H
#define ENGINE_LAYOUT_UNPACK_H

#include "engine/archive.h"

/*
 * Into the empty folder @dirfd: `oci-layout`, `index.json` and blobs, each
 * hashed and counted in @ret->files and bytes; any other entry is -EINVAL, a
 * blob that is not what its name says -EBADMSG. *@ret_sure: there was something
 * that only a layout has, also when it failed.
 */
int layout_unpack(const char *file, int dirfd, struct import_result *ret,
		  bool *ret_sure, const struct op *op, struct error **errp);

#endif
