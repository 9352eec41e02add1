/*
 * Pointer files for externals and the provenance document: canonical JSON
 * below .mops/, the same bytes in a workdir and in a mount.
 */
#ifndef ENGINE_POINTER_H
#define ENGINE_POINTER_H

#include "engine/bundle.h"

struct pointer {
	char *original_path, *layer, *uri, *tier; /* tier "" when none */
	char *local_path;                         /* NULL */
	bool fulfilled;
	struct digest sha256;
	uint64_t size;
};

void pointer_write(const struct pointer *p, struct strbuf *out);
int pointer_parse(const void *buf, size_t n, struct pointer *ret,
		  struct error **errp);
void pointer_release(struct pointer *p);
/* ".mops/ptr/<dir of file>/<file name>.json"; heap. */
char *pointer_path(const char *file_path);

/* .mops/.mops-manifest.json */
#define PROVENANCE_PATH ".mops/.mops-manifest.json"
void provenance_write(const struct bundle *b, const struct root_role *role,
		      struct strbuf *out);

#endif
