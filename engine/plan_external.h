/*
 * Which files of a plan are external, and where: --external first, then the
 * bundle file's rules in their order.
 */
#ifndef ENGINE_PLAN_EXTERNAL_H
#define ENGINE_PLAN_EXTERNAL_H

#include "engine/plan.h"

int plan_place_externals(struct plan *p, const struct bundle_file *bf,
			 const struct plan_options *o, struct error **errp);

#endif
