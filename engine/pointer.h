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

/* The pointer of external node @n at @path in a role's tree, unfulfilled.
 * -EBADMSG when the node's layer is none of the role's. */
int pointer_of_node(const struct bundle *b, const struct root_role *role,
		    const struct tree_node *n, const struct tree_source *src,
		    const char *path, struct pointer *ret, struct error **errp);
/* Equal but for fulfilled and local_path. */
bool pointer_same_target(const struct pointer *a, const struct pointer *b);
void pointer_write(const struct pointer *p, struct strbuf *out);
/* Hostile input welcome. Another schema_version is ERROR_MEDIA_TYPE. */
int pointer_parse(const void *buf, size_t n, struct pointer *ret,
		  struct error **errp);
void pointer_release(struct pointer *p);
#define cleanup_pointer __attribute__((cleanup(pointer_release)))

#define POINTER_FOLDER ".mops/ptr"
#define POINTER_MAX    (64u << 10) /* bytes */
/* ".mops/ptr/<dir of file>/<file name>.json"; heap. */
char *pointer_path(const char *file_path);

/* .mops/.mops-manifest.json */
#define PROVENANCE_PATH ".mops/.mops-manifest.json"
void provenance_write(const struct bundle *b, const struct root_role *role,
		      struct strbuf *out);

#endif
