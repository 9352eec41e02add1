/*
 * The commands of mopsfs, one file each.
 */
#ifndef FS_VERBS_H
#define FS_VERBS_H

#include "cli/args.h"

extern const struct arg_option mount_verb_options[];
extern const struct arg_option umount_verb_options[];

int verb_mount(struct cli *cli, struct error **errp);
int verb_umount(struct cli *cli, struct error **errp);
int verb_status(struct cli *cli, struct error **errp);
int verb_upgrade(struct cli *cli, struct error **errp);
int verb_warm(struct cli *cli, struct error **errp);
int verb_version(struct cli *cli, struct error **errp);

#endif
