/* What resolve and show say of a bundle, in both forms. */
#ifndef CLI_DESCRIBE_H
#define CLI_DESCRIBE_H

#include "engine/bundle.h"

/* Members of the object that both verbs print. @blobs: descriptors too. */
void describe_json(const struct bundle *b, bool blobs);
void describe_text(const struct bundle *b, bool blobs);

#endif
