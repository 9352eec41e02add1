/* The repeated flag --external PATH=URI. */
#ifndef CLI_EXTERNAL_H
#define CLI_EXTERNAL_H

#include "cli/args.h"
#include "engine/plan.h"

struct externals {
	struct plan_external *v;
	char **paths; /* what v[].path leads into */
	size_t n;
};

int externals_of(const struct cli *cli, struct externals *ret,
		 struct error **errp);
void externals_release(struct externals *e);
#define cleanup_externals __attribute__((cleanup(externals_release)))

#endif
