/*
 * OCI artifacts of other tools, as far as their blobs have titles
 * (`org.opencontainers.image.title`): each titled blob is a file of that path.
 *
 * A title is held to the rules of paths in bundles, and two of them may not
 * differ in case alone. One that breaks them spoils the artifact (-EINVAL).
 *
 * Threads: one.
 */
#ifndef ENGINE_ARTIFACT_H
#define ENGINE_ARTIFACT_H

#include "engine/session.h"
#include "storage/manifest_info.h"

struct artifact_file {
	const char *path;
	const struct descriptor *desc;
};

struct artifact {
	struct registry *registry; /* the session's */
	const char *repo;          /* the reference's */
	struct digest digest;
	struct manifest_info info;
	struct artifact_file *files; /* sorted by path */
	size_t n_files;
	size_t n_untitled; /* blobs that are not among them */
};

/* @ref outlives the artifact. 1; 0 when it is a bundle, an index, or nothing
 * in it has a title; or -errno. */
int artifact_open(struct session *s, const struct reference *ref,
		  struct artifact *ret, const struct op *op,
		  struct error **errp);
void artifact_release(struct artifact *a);
#define cleanup_artifact __attribute__((cleanup(artifact_release)))

struct artifact_pull {
	const char *dest;
	const char *glob; /* NULL: all */
	bool overwrite;
	bool show_progress;
	unsigned concurrency;
};

struct artifact_pulled {
	uint64_t files, bytes, created, unchanged, replaced;
	char **conflicts; /* NULL-ended or NULL */
};
void artifact_pulled_release(struct artifact_pulled *p);
#define cleanup_artifact_pulled \
	__attribute__((cleanup(artifact_pulled_release)))

/*
 * Write its files below @o->dest, which is made. A file is hashed whole before
 * it gets its name. What is there with other content is a conflict (-EEXIST,
 * ERROR_CONFLICT), found before anything is written, unless @o->overwrite.
 */
int artifact_pull(const struct artifact *a, const struct artifact_pull *o,
		  struct artifact_pulled *ret, const struct op *op,
		  struct error **errp);

#endif
