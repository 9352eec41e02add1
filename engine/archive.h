/*
 * Export a role to a deterministic tar (optionally zstd), and import one.
 */
#ifndef ENGINE_ARCHIVE_H
#define ENGINE_ARCHIVE_H

#include "engine/bundle.h"

/* @file ends in .tar or .tar.zst; written under a temporary name, renamed.
 * Externals travel as pointer files unless @include_external. */
int export_role(struct role_view *v, const char *file, bool include_external,
		int show_progress, uint64_t *ret_files,
		struct digest *ret_tar_digest, const struct op *op,
		struct error **errp);
/* The same from a source folder: the files that a push would take. */
int export_folder(struct session *s, const char *dir, const char *file,
		  uint64_t *ret_files, struct digest *ret_tar_digest,
		  const struct op *op, struct error **errp);
/* Unpack into @dest, which must not exist or be empty. Refuses everything that
 * export would not write; nothing is left under @dest when it fails. */
int import_archive(const char *file, const char *dest, uint64_t *ret_files,
		   uint64_t *ret_bytes, const struct op *op,
		   struct error **errp);

#endif
