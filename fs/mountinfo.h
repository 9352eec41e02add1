/*
 * The kernel's list of mounts (proc(5), "mountinfo"): what is mounted where,
 * looked up without touching the mounts themselves, dead ones included.
 */
#ifndef FS_MOUNTINFO_H
#define FS_MOUNTINFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define FS_TYPE "fuse.mopsfs"

struct mount_entry {
	int id;
	unsigned major, minor;
	char *dir;     /* unescaped */
	char *options; /* of the mount: "ro,nosuid,…" */
	char *type;    /* "fuse.mopsfs" */
	char *source;  /* unescaped */
	char *super;   /* of the superblock */
};

struct mount_list {
	struct mount_entry *e; /* in the kernel's order: later covers earlier */
	size_t n;
};

/* Parse a text in the format of mountinfo; lines that break it are skipped. */
void mount_list_parse(char *text, struct mount_list *ret);
/* Read the list of this process. Returns 0 or -errno. */
int mount_list_read(struct mount_list *ret);
void mount_list_release(struct mount_list *l);
#define cleanup_mount_list __attribute__((cleanup(mount_list_release)))

/* What is on top at @dir, an absolute path without symlinks; NULL: no mount
 * point. */
const struct mount_entry *mount_list_top(const struct mount_list *l,
					 const char *dir);
bool mount_entry_is_ours(const struct mount_entry *e);
/* Read the list, and find the mount of mopsfs on @dir, as a user names it. */
int mount_list_find_ours(const char *dir, struct mount_list *ret,
			 const struct mount_entry **ret_entry,
			 struct error **errp);

/*
 * Which mount it is. The number of a superblock goes to another one when it is
 * gone; @unique, since Linux 6.8, never does. Before that it is 0.
 */
struct mount_identity {
	unsigned major, minor;
	uint64_t unique;
};

/* Of the mount of ours that is on top at @dir. 0; -ENOENT: there is none; or why
 * that cannot be known. Nothing is asked of those who serve it. */
int mount_identify(const char *dir, struct mount_identity *ret);
bool mount_identity_equal(const struct mount_identity *a,
			  const struct mount_identity *b);

/* Is @option a member of the comma-separated @list? */
bool mount_option_has(const char *list, const char *option);

/*
 * @path made absolute, without symlinks. The last component may be a dead
 * mount: it is not asked what it is. Heap, or NULL with errno.
 */
char *mountpoint_path(const char *path);

#endif
