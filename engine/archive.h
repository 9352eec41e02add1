/*
 * Export a role, or a source folder, to a deterministic tar (zstd when the
 * name ends in .zst), and unpack one.
 */
#ifndef ENGINE_ARCHIVE_H
#define ENGINE_ARCHIVE_H

#include "engine/bundle.h"

struct export_result {
	uint64_t files, bytes;
	uint64_t pointers;
	struct digest tar; /* of the .tar, before compression */
	/* What decides on the bytes of a compressed one; NULL: it is not. */
	const char *zstd_version;
	int zstd_level;
};

/*
 * @file appears under its name only when it is whole and fsynced. Externals
 * travel as pointer files unless @include_external.
 */
int export_role(struct role_view *v, const char *file, bool include_external,
		bool show_progress, struct export_result *ret,
		const struct op *op, struct error **errp);
/* The same from a source folder: the files that a push would take, externals
 * included. */
int export_folder(struct session *s, const char *dir, const char *file,
		  struct export_result *ret, const struct op *op,
		  struct error **errp);

/*
 * The bundle itself, of all roles, as an OCI image layout in one tar: manifest
 * and blobs, from the cache or the registry, each hashed on its way.
 * @ret->files and bytes are of the blobs. The index says the reference's name
 * and version, if it has them.
 */
int export_layout(struct bundle *b, const char *file, bool show_progress,
		  struct export_result *ret, const struct op *op,
		  struct error **errp);

struct import_result {
	uint64_t files, bytes;
	uint64_t pointers; /* externals whose content is not in the archive */
	bool is_layout;    /* a bundle, of these blobs; not its files */
};

/*
 * Unpack into @dest, which must not exist or be empty: files, or an image
 * layout (engine/layout_unpack.h). Files that export would not have written so
 * are refused; when it fails nothing is left of @dest's content.
 */
int import_archive(const char *file, const char *dest,
		   struct import_result *ret, const struct op *op,
		   struct error **errp);

#endif
