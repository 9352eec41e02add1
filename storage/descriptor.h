/*
 * OCI content descriptors (image specification, descriptor.md).
 */
#ifndef STORAGE_DESCRIPTOR_H
#define STORAGE_DESCRIPTOR_H

#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/json.h"

#define MEDIA_TYPE_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define MEDIA_TYPE_INDEX    "application/vnd.oci.image.index.v1+json"
#define ANNOTATION_TITLE    "org.opencontainers.image.title"
#define ANNOTATION_REF_NAME "org.opencontainers.image.ref.name"

struct annotation {
	char *key;
	char *value;
};

struct descriptor {
	char *media_type;
	struct digest digest;
	uint64_t size;
	char *artifact_type;            /* NULL when absent */
	struct annotation *annotations; /* sorted by key */
	size_t n_annotations;
	void *data; /* NULL, or inlined content, checked against digest, size */
};

/* Unknown members are ignored, `urls` too (never followed). */
int descriptor_parse(const struct json *v, struct descriptor *ret,
		     struct error **errp);
/* Write as a canonical object. `data` is written when set. */
void descriptor_write(struct json_writer *w, const char *key,
		      const struct descriptor *d);
/* Read an `annotations` object into an empty @d; @v NULL: there are none. */
int descriptor_parse_annotations(const struct json *v, struct descriptor *d,
				 struct error **errp);
/* NULL when absent. */
const char *descriptor_annotation(const struct descriptor *d, const char *key);
/* Set or replace; @value NULL: remove. */
void descriptor_annotate(struct descriptor *d, const char *key,
			 const char *value);
void descriptor_release(struct descriptor *d);
#define cleanup_descriptor __attribute__((cleanup(descriptor_release)))
void descriptor_copy(struct descriptor *to, const struct descriptor *from);
/* Release @n descriptors and the array. */
void descriptors_free(struct descriptor *v, size_t n);

#endif
