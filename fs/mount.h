/*
 * One mounted bundle, as its FUSE operations see it.
 *
 * What the operations answer from (the tree above all) is immutable while the
 * mount lives; what changes has a lock or is atomic, and lives in the modules
 * named below. Inode numbers are node + 1; those of .mops/ are from 2^48 (see
 * synthetic.h). No inode number and no file handle is a pointer: a worker that
 * is replaced answers for what its predecessor handed out.
 *
 * Threads: operations run on any of the loop's threads, and never wait for the
 * network, for another request, or for an eviction.
 */
#ifndef FS_MOUNT_H
#define FS_MOUNT_H

/* The oldest libfuse that is supported; what is newer is found by test. */
#define FUSE_USE_VERSION 314

#include <fuse_lowlevel.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/bundle.h"
#include "fs/errors.h"
#include "fs/handover.h"
#include "fs/options.h"
#include "fs/record.h"
#include "fs/sandbox.h"
#include "fs/stats.h"

/* Everything is pinned by a digest: nothing the kernel keeps grows old. */
#define FOREVER 1e9
/* The earliest time that zip tools accept: 1980-01-01. */
#define BUNDLE_MTIME 315532800

struct mount {
	struct session *session;
	struct cache *cache;
	struct fetcher *fetcher;
	struct trimmer *trimmer;   /* may be NULL */
	struct prefetch *prefetch; /* may be NULL */
	struct bundle *bundle;
	struct role_view *view;
	const struct tree *tree; /* the view's */

	char *mountpoint;
	const struct mount_options *options;
	uid_t uid;
	gid_t gid;
	uint64_t bytes;        /* of all files, for statfs */
	unsigned major, minor; /* of the superblock */

	struct sandbox_state sandbox;

	struct handover *handover;
	struct fuse_session *se;
	struct opens *opens;
	struct sources *sources;
	struct parking *parking;
	struct synthetic *synthetic;
	struct recorder *recorder; /* NULL: reads are not recorded */
	struct filler *filler;     /* may be NULL */
	struct fs_errors errors;
	struct fs_stats *stats; /* the handover's */
};

static inline struct mount *mount_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static inline bool ino_is_synthetic(fuse_ino_t ino)
{
	return ino >= 1ull << 48;
}

/*
 * The node of an inode that the kernel names. A node that breaks the tree's
 * rules is reported; the return value is 0 or the errno to reply.
 */
int mount_node(struct mount *m, fuse_ino_t ino, struct tree_node *ret);

/* The operations of ops.c, read.c, open.c and xattr.c in libfuse's table. */
extern const struct fuse_lowlevel_ops mount_ops;

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	     struct fuse_file_info *fi);
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);

#endif
