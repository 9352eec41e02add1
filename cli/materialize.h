/* Writing a role into a folder and saying so: materialize, pull --dest. */
#ifndef CLI_MATERIALIZE_H
#define CLI_MATERIALIZE_H

#include "cli/run.h"
#include "engine/materialize.h"

int run_materialize(struct run *run, struct role_view *v,
		    struct materialize_options *o, struct error **errp);

#endif
