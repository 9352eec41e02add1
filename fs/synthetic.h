/*
 * What a mount shows below .mops/ (docs/format.md, "What materialize writes"):
 *
 *   .mops/.mops-manifest.json      provenance
 *   .mops/ptr/<path>.json          a pointer per external file
 *
 * None of it is in a tree. The pointers mirror the tree's folders, so their
 * inodes are made from the node: nothing is built but a bitmap of the folders
 * that have externals below them, when ptr/ is first looked at.
 *
 *   2^48          .mops          2^48 + 2^40 + node   ptr/ folder of a folder
 *   2^48 + 1      the manifest   2^48 + 2^41 + node   pointer of a file
 *
 * Threads: any, once made.
 */
#ifndef FS_SYNTHETIC_H
#define FS_SYNTHETIC_H

#include <limits.h>

#include "fs/mount.h"

#define SYNTHETIC_NAME ".mops"
#define SYNTHETIC_INO  (1ull << 48)

struct synthetic;

struct synthetic *synthetic_new(struct mount *m);
void synthetic_free(struct synthetic *s);

/* Kind and size; 0 or an errno. */
int synthetic_stat(struct synthetic *s, fuse_ino_t ino, struct stat *ret);
/* 0 or an errno (ENOENT, ENOTDIR). */
int synthetic_lookup(struct synthetic *s, fuse_ino_t dir, const char *name,
		     fuse_ino_t *ret);
/* The parent of a synthetic folder. */
fuse_ino_t synthetic_parent(struct synthetic *s, fuse_ino_t dir);

/*
 * Entries of a synthetic folder in a fixed order: from position *@pos (0 at
 * first) the next one, with its name (NUL-terminated) in @name. Leaves *@pos
 * behind it. False at the end.
 */
bool synthetic_next(struct synthetic *s, fuse_ino_t dir, uint64_t *pos,
		    char name[NAME_MAX + 1], fuse_ino_t *ret);

/* Answers the request. */
void synthetic_read(struct synthetic *s, fuse_req_t req, fuse_ino_t ino,
		    size_t size, off_t off);

#endif
