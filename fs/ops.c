/* The operations that are answered from the tree alone. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/alloc.h"
#include "fs/filler.h"
#include "fs/mount.h"
#include "fs/open.h"
#include "fs/synthetic.h"

#define BLOCK 4096

const char *const fs_op_names[OP_END] = {
	[OP_LOOKUP] = "lookup",     [OP_GETATTR] = "getattr",
	[OP_READLINK] = "readlink", [OP_READDIR] = "readdir",
	[OP_OPEN] = "open",         [OP_READ] = "read",
	[OP_GETXATTR] = "getxattr", [OP_LISTXATTR] = "listxattr",
	[OP_STATFS] = "statfs",     [OP_REFUSED] = "refused",
};

int mount_node(struct mount *m, fuse_ino_t ino, struct tree_node *ret)
{
	cleanup_error struct error *err = NULL;

	if (ino < FUSE_ROOT_ID || ino > tree_nodes(m->tree))
		return ENOENT;
	if (tree_node(m->tree, (uint32_t)(ino - 1), ret, &err) < 0)
		return fs_errors_report(&m->errors, SITE_TREE, ino, "the tree",
					err->message);
	return 0;
}

static void stat_node(const struct tree_node *n, struct stat *ret)
{
	switch (n->kind) {
	case TREE_DIR:
		ret->st_mode = S_IFDIR | 0755;
		return;
	case TREE_SYMLINK:
		ret->st_mode = S_IFLNK | 0777;
		ret->st_size = n->target_len;
		return;
	case TREE_FILE:
		ret->st_mode = S_IFREG | (n->executable ? 0755 : 0644);
		ret->st_size = (off_t)n->size;
		return;
	}
}

/* Attributes of any inode, synthetic ones included: 0 or an errno. */
static int stat_inode(struct mount *m, fuse_ino_t ino, struct stat *ret)
{
	struct tree_node n;
	int code;

	*ret = (struct stat){
		.st_ino = ino,
		.st_uid = m->uid,
		.st_gid = m->gid,
		.st_blksize = BLOCK,
		.st_atim.tv_sec = BUNDLE_MTIME,
		.st_mtim.tv_sec = BUNDLE_MTIME,
		.st_ctim.tv_sec = BUNDLE_MTIME,
	};
	if (ino_is_synthetic(ino)) {
		code = synthetic_stat(m->synthetic, ino, ret);
	} else {
		code = mount_node(m, ino, &n);
		if (!code)
			stat_node(&n, ret);
	}
	ret->st_nlink = S_ISDIR(ret->st_mode) ? 2 : 1;
	ret->st_blocks = (blkcnt_t)(((uint64_t)ret->st_size + 511) / 512);
	return code;
}

/* 0 or an errno. */
static int find_child(struct mount *m, fuse_ino_t dir, const char *name,
		      fuse_ino_t *ret)
{
	cleanup_error struct error *err = NULL;
	uint32_t node;
	int r;

	if (ino_is_synthetic(dir))
		return synthetic_lookup(m->synthetic, dir, name, ret);
	if (dir == FUSE_ROOT_ID && !strcmp(name, SYNTHETIC_NAME)) {
		*ret = SYNTHETIC_INO;
		return 0;
	}
	r = tree_lookup(m->tree, (uint32_t)(dir - 1), name, strlen(name), &node,
			&err);
	if (r == -EBADMSG)
		return fs_errors_report(&m->errors, SITE_TREE, dir, "the tree",
					err->message);
	*ret = (fuse_ino_t)node + 1;
	return -r;
}

/* The folder that holds @dir; for "..", which NFS asks for. 0 or an errno. */
static int find_parent(struct mount *m, fuse_ino_t dir, fuse_ino_t *ret)
{
	struct tree_node n;
	int code;

	if (ino_is_synthetic(dir)) {
		*ret = synthetic_parent(m->synthetic, dir);
		return 0;
	}
	code = mount_node(m, dir, &n);
	*ret = dir == FUSE_ROOT_ID ? FUSE_ROOT_ID : (fuse_ino_t)n.parent + 1;
	return code;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct mount *m = mount_of(req);
	struct fuse_entry_param e = {.attr_timeout = FOREVER,
				     .entry_timeout = FOREVER};
	int code;

	stat_add(&m->stats->ops[OP_LOOKUP], 1);
	if (!strcmp(name, ".")) {
		e.ino = parent;
		code = 0;
	} else if (!strcmp(name, "..")) {
		code = find_parent(m, parent, &e.ino);
	} else {
		code = find_child(m, parent, name, &e.ino);
	}
	if (!code)
		code = stat_inode(m, e.ino, &e.attr);
	if (code == ENOENT) {
		/* A name that is not there never will be: let the kernel keep
		 * that as well. */
		e.ino = 0;
		code = 0;
	}
	if (code)
		fuse_reply_err(req, code);
	else
		fuse_reply_entry(req, &e);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct stat st;
	int code = stat_inode(m, ino, &st);

	stat_add(&m->stats->ops[OP_GETATTR], 1);
	if (code)
		fuse_reply_err(req, code);
	else
		fuse_reply_attr(req, &st, FOREVER);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct mount *m = mount_of(req);
	cleanup_free char *target = NULL;
	struct tree_node n;
	int code = ino_is_synthetic(ino) ? EINVAL : mount_node(m, ino, &n);

	stat_add(&m->stats->ops[OP_READLINK], 1);
	if (!code && n.kind != TREE_SYMLINK)
		code = EINVAL;
	if (code) {
		fuse_reply_err(req, code);
		return;
	}
	target = xstrndup(n.target, n.target_len);
	fuse_reply_readlink(req, target);
}

/*
 * Folders. Offsets are what the *next* entry has: 1 behind ".", 2 behind "..",
 * then 2 + position behind each child; the root's last entry is .mops.
 */

struct listing {
	struct mount *m;
	fuse_req_t req;
	fuse_ino_t dir;
	bool plus;
	char *buf;
	size_t size, used;
	bool whole; /* to the last of the children */
};

/* False: the buffer is full. */
static bool list_add(struct listing *l, const char *name, fuse_ino_t ino,
		     uint64_t next)
{
	struct fuse_entry_param e = {.attr_timeout = FOREVER,
				     .entry_timeout = FOREVER};
	size_t room = l->size - l->used, need;
	bool dot = next <= 2;

	if (stat_inode(l->m, ino, &e.attr) != 0)
		return true; /* damaged: a lookup of it tells why */
	e.ino = dot ? 0 : ino;
	if (l->plus)
		need = fuse_add_direntry_plus(l->req, l->buf + l->used, room,
					      name, &e, (off_t)next);
	else
		need = fuse_add_direntry(l->req, l->buf + l->used, room, name,
					 &e.attr, (off_t)next);
	if (need > room)
		return false;
	l->used += need;
	return true;
}

static bool list_dots(struct listing *l, uint64_t off)
{
	fuse_ino_t parent = l->dir;

	if (off < 1 && !list_add(l, ".", l->dir, 1))
		return false;
	if (off >= 2)
		return true;
	if (find_parent(l->m, l->dir, &parent) != 0)
		parent = l->dir;
	return list_add(l, "..", parent, 2);
}

static void list_synthetic(struct listing *l, uint64_t pos)
{
	char name[NAME_MAX + 1];
	fuse_ino_t ino;

	while (synthetic_next(l->m->synthetic, l->dir, &pos, name, &ino))
		if (!list_add(l, name, ino, pos + 2))
			return;
}

static void list_children(struct listing *l, const struct tree_node *dir,
			  uint64_t pos)
{
	for (; pos < dir->count; pos++) {
		uint32_t i = dir->first + (uint32_t)pos;
		char name[NAME_MAX + 1];
		struct tree_node n;

		if (tree_node(l->m->tree, i, &n, NULL) < 0)
			continue;
		memcpy(name, n.name, n.name_len);
		name[n.name_len] = '\0';
		if (!list_add(l, name, (fuse_ino_t)i + 1, pos + 3))
			return;
	}
	l->whole = true;
	if (l->dir == FUSE_ROOT_ID && pos == dir->count)
		list_add(l, SYNTHETIC_NAME, SYNTHETIC_INO, pos + 3);
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		 bool plus)
{
	struct mount *m = mount_of(req);
	cleanup_free char *buf = malloc(size);
	struct listing l = {m, req, ino, plus, buf, size, 0, false};
	uint64_t pos = off > 2 ? (uint64_t)off - 2 : 0;
	struct tree_node dir;
	int code = buf ? 0 : ENOMEM;

	stat_add(&m->stats->ops[OP_READDIR], 1);
	if (!code && !ino_is_synthetic(ino))
		code = mount_node(m, ino, &dir);
	if (!code && !ino_is_synthetic(ino) && dir.kind != TREE_DIR)
		code = ENOTDIR;
	if (code) {
		fuse_reply_err(req, code);
		return;
	}
	if (off >= 0 && list_dots(&l, (uint64_t)off)) {
		if (ino_is_synthetic(ino))
			list_synthetic(&l, pos);
		else
			list_children(&l, &dir, pos);
	}
	fuse_reply_buf(req, l.buf, l.used);
	/* These the kernel has looked up with it; mere names it has not. */
	if (plus && l.whole)
		filler_listed(m->filler, (uint32_t)(ino - 1));
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	list(req, ino, size, off, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size,
			   off_t off, struct fuse_file_info *fi)
{
	list(req, ino, size, off, true);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct mount *m = mount_of(req);
	struct statvfs st = {
		.f_bsize = BLOCK,
		.f_frsize = BLOCK,
		.f_blocks = (m->bytes + BLOCK - 1) / BLOCK,
		.f_files = tree_nodes(m->tree),
		.f_namemax = NAME_MAX,
	};

	stat_add(&m->stats->ops[OP_STATFS], 1);
	fuse_reply_statfs(req, &st);
}

/* The table lives as long as the mount, and inodes are its indices. */
static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count,
			    struct fuse_forget_data *forgets)
{
	fuse_reply_none(req);
}

/*
 * The kernel refuses every change itself while the mount is read-only; an
 * administrator can remount it writable, and then we do.
 */

static void refuse(fuse_req_t req)
{
	stat_add(&mount_of(req)->stats->ops[OP_REFUSED], 1);
	fuse_reply_err(req, EROFS);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
		       int to_set, struct fuse_file_info *fi)
{
	refuse(req);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
		     mode_t mode, dev_t rdev)
{
	refuse(req);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
		     mode_t mode)
{
	refuse(req);
}

static void op_remove(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	refuse(req);
}

static void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent,
		       const char *name)
{
	refuse(req);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
		      fuse_ino_t newparent, const char *newname,
		      unsigned int flags)
{
	refuse(req);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent,
		    const char *newname)
{
	refuse(req);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf,
		     size_t size, off_t off, struct fuse_file_info *fi)
{
	refuse(req);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name,
		      mode_t mode, struct fuse_file_info *fi)
{
	refuse(req);
}

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
			const char *value, size_t size, int flags)
{
	refuse(req);
}

static void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	refuse(req);
}

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset,
			 off_t length, struct fuse_file_info *fi)
{
	refuse(req);
}

const struct fuse_lowlevel_ops mount_ops = {
	.init = open_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.readlink = op_readlink,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.open = op_open,
	.release = op_release,
	.read = op_read,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.statfs = op_statfs,
	.setattr = op_setattr,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_remove,
	.rmdir = op_remove,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.write = op_write,
	.create = op_create,
	.setxattr = op_setxattr,
	.removexattr = op_removexattr,
	.fallocate = op_fallocate,
};
