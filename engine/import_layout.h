/* What layout_unpack() left, to a registry: the same manifest, so the same
 * digest. */
#ifndef ENGINE_IMPORT_LAYOUT_H
#define ENGINE_IMPORT_LAYOUT_H

#include "engine/copy.h"

/*
 * The one manifest of the folder's index; of several, the one whose digest @to
 * has. All that it names must be there with the right size, or it is refused
 * (ERROR_VALIDATION) before anything is sent. @file is the archive's name, for
 * messages.
 */
int import_layout(struct session *s, const char *folder, const char *file,
		  const struct reference *to, const struct copy_options *o,
		  struct copy_result *ret, const struct op *op,
		  struct error **errp);

#endif
