/*
 * What an archive holds, and the writing of it in the one order and form that
 * there is (docs/format.md, "Deterministic tar").
 */
#ifndef ENGINE_ARCHIVE_MEMBERS_H
#define ENGINE_ARCHIVE_MEMBERS_H

#include "engine/archive.h"
#include "engine/archive_io.h"
#include "engine/tar.h"

/* One member to be written; the order is byte order of the path, which is not
 * the order of a tree ("a-b" comes before "a/b"). */
struct archive_member {
	char *path;
	struct tar_entry entry; /* path and target lead elsewhere */
	uint32_t node;          /* of a role's tree */
	const void *of;         /* what else the content is taken from */
	char *owned;            /* target or whole content, heap */
	size_t owned_len;
};

struct archive_members {
	struct archive_member *v;
	size_t n, cap;
};

void archive_members_release(struct archive_members *m);
#define cleanup_archive_members \
	__attribute__((cleanup(archive_members_release)))

/* A new member; of directories that are added twice one is written. Valid until
 * the next one is added. */
struct archive_member *archive_add(struct archive_members *m, const char *path,
				   enum tar_kind kind);

/* Put entry.size bytes into @out. */
typedef int (*archive_content_fn)(void *ctx, const struct archive_member *m,
				  struct archive_out *out, struct error **errp);

/* Write all of @m to @file, and into @ret what is known of it then. */
int archive_write(const char *file, struct archive_members *m,
		  archive_content_fn content, void *ctx,
		  struct export_result *ret, struct error **errp);

#endif
