/*
 * The commands of mopsfs, one file each.
 */
#ifndef FS_VERBS_H
#define FS_VERBS_H

#include "cli/args.h"

extern const struct arg_option mount_verb_options[];
extern const struct arg_option umount_verb_options[];

int verb_mount(struct cli *cli, struct error **errp);

/* verb_mount() for mount.mopsfs too: what a failure is about is in *@ret. */
enum mount_stage {
	MOUNT_READING,  /* the command line */
	MOUNT_CHECKING, /* where it is to be mounted */
	MOUNT_STARTING, /* a process */
	MOUNT_WORKING,
};
int mount_run(struct cli *cli, bool by_mount8, enum mount_stage *ret,
	      struct error **errp);
/* The main() of mount.mopsfs. */
int mount_helper_main(int argc, char *const *argv);

int verb_umount(struct cli *cli, struct error **errp);
int verb_status(struct cli *cli, struct error **errp);
int verb_upgrade(struct cli *cli, struct error **errp);
int verb_prefetch(struct cli *cli, struct error **errp);
int verb_warm(struct cli *cli, struct error **errp);
int verb_doctor(struct cli *cli, struct error **errp);
int verb_version(struct cli *cli, struct error **errp);

#endif
