/* The verbs of mops, one file each; mops.c has the table. */
#ifndef CLI_VERBS_H
#define CLI_VERBS_H

#include "cli/args.h"

extern const struct arg_option options_init[], options_plan[], options_push[],
	options_pull[], options_rm[], options_materialize[], options_ls[],
	options_verify[], options_export[], options_import[], options_scan[],
	options_cache[], options_diff[], options_copy[], options_login[],
	options_show[];

int verb_cache(struct cli *cli, struct error **errp);
int verb_cat(struct cli *cli, struct error **errp);
int verb_completion(struct cli *cli, struct error **errp);
int verb_copy(struct cli *cli, struct error **errp);
int verb_diff(struct cli *cli, struct error **errp);
int verb_doctor(struct cli *cli, struct error **errp);
int verb_export(struct cli *cli, struct error **errp);
int verb_import(struct cli *cli, struct error **errp);
int verb_init(struct cli *cli, struct error **errp);
int verb_list(struct cli *cli, struct error **errp);
int verb_login(struct cli *cli, struct error **errp);
int verb_logout(struct cli *cli, struct error **errp);
int verb_ls(struct cli *cli, struct error **errp);
int verb_materialize(struct cli *cli, struct error **errp);
int verb_plan(struct cli *cli, struct error **errp);
int verb_pull(struct cli *cli, struct error **errp);
int verb_push(struct cli *cli, struct error **errp);
int verb_resolve(struct cli *cli, struct error **errp);
int verb_rm(struct cli *cli, struct error **errp);
int verb_scan(struct cli *cli, struct error **errp);
int verb_show(struct cli *cli, struct error **errp);
int verb_tags(struct cli *cli, struct error **errp);
int verb_verify(struct cli *cli, struct error **errp);
int verb_warm(struct cli *cli, struct error **errp);
int verb_version(struct cli *cli, struct error **errp);

#endif
