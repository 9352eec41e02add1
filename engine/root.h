/*
 * The root (config of the manifest) and the manifest of a bundle: parsed,
 * checked, written (docs/format.md, "On the registry").
 */
#ifndef ENGINE_ROOT_H
#define ENGINE_ROOT_H

#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/strbuf.h"
#include "storage/descriptor.h"

#define ARTIFACT_TYPE_BUNDLE "application/vnd.modelops.bundle.v1"
#define MEDIA_TYPE_ROOT      "application/vnd.modelops.bundle.root.v1+json"
#define MEDIA_TYPE_TREE      "application/vnd.modelops.tree.v1"
#define MEDIA_TYPE_PACK      "application/vnd.oci.image.layer.v1.tar"
#define MEDIA_TYPE_FILE      "application/octet-stream"
#define ANNOTATION_FILEPATH  "org.cncf.model.filepath"

#define PART_SIZE             (5ull << 30) /* schemaVersion 1 */
#define ROOT_INLINE_MAX       (64u << 10)
#define MAX_LAYER_DESCRIPTORS 400
#define MAX_TREES             32

/* A tree as the root pins it. */
struct tree_ref {
	struct digest digest;
	uint64_t size;
	struct digest *chunks; /* NULL when size ≤ CHUNK_SIZE */
	uint32_t n_chunks;
};

struct root_layer {
	char *name;
	struct tree_ref tree;
	uint64_t files, bytes;
	uint64_t bytes_blob, bytes_pack, bytes_external;
};

struct root_role {
	char *name;
	uint32_t *layers; /* indices into root.layers, rising */
	size_t n_layers;
	struct tree_ref tree; /* merged */
};

struct root {
	uint32_t plan_version;
	struct root_layer *layers;
	size_t n_layers;
	struct root_role *roles; /* sorted by name */
	size_t n_roles;
	uint64_t files, bytes;
};

/* Hostile input welcome: every rule of the format is checked. An unknown
 * schemaVersion or `requires` is ERROR_MEDIA_TYPE. */
int root_parse(const void *p, size_t n, struct root *ret, struct error **errp);
void root_write(const struct root *r, struct strbuf *out);
void root_release(struct root *r);
#define cleanup_root __attribute__((cleanup(root_release)))

const struct root_role *root_find_role(const struct root *r, const char *name);

struct manifest {
	struct descriptor config; /* `data` holds the root when inlined */
	struct descriptor *layers;
	size_t n_layers;
	struct map *by_digest; /* digest → descriptor in layers */
};

/*
 * The bytes of a manifest whose digest was checked. @media_type is what the
 * registry said (NULL: nothing). Not a bundle: ERROR_MEDIA_TYPE, saying what it
 * seems to be.
 */
int manifest_parse(const void *p, size_t n, const char *media_type,
		   struct manifest *ret, struct error **errp);
void manifest_write(const struct manifest *m, struct strbuf *out);
/* The layer descriptor of a blob, or NULL: every blob a tree names must be
 * here with the same size. */
const struct descriptor *manifest_blob(const struct manifest *m,
				       const struct digest *d);
void manifest_release(struct manifest *m);
#define cleanup_manifest __attribute__((cleanup(manifest_release)))

#endif
