/*
 * The parts of the registry in memory: tables, manifests and names
 * (registry_fake.c), and blobs. Nothing here calls out under the lock.
 */
#ifndef TESTS_REGISTRY_FAKE_INTERNAL_H
#define TESTS_REGISTRY_FAKE_INTERNAL_H

#include "base/lock.h"
#include "base/map.h"
#include "storage/manifest_info.h"
#include "tests/fakes/fakes.h"

/* Never changed and never freed before the registry is: used without lock. */
struct fake_blob {
	struct fake_blob *next; /* of all */
	struct digest digest;
	size_t size;
	char *buf;
};

struct fake_manifest {
	char *media_type;
	const struct fake_blob *blob;
	struct manifest_info info;
};

struct fake_repo {
	char *name;
	struct map blobs;     /* digest → fake_blob */
	struct map manifests; /* digest → fake_manifest, owned */
	struct map tags;      /* tag → fake_manifest */
};

struct registry_fake {
	struct registry registry;
	struct mutex lock;
	struct fake_blob *all;
	struct map repos; /* name → fake_repo, owned */
};

static inline struct registry_fake *fake_of(struct registry *r)
{
	return (struct registry_fake *)r;
}

/* Names are valid (@tag NULL: none) and the operation may go on. */
int fake_check(const char *repo, const char *tag, const struct op *op,
	       struct error **errp);

/* The repository, made when it is not there. */
struct fake_repo *fake_repo_locked(struct registry_fake *f, const char *name)
	REQUIRES(f->lock);
/* The blob as @name knows it; NULL when it does not. */
const struct fake_blob *fake_blob_locked(struct registry_fake *f,
					 const char *name,
					 const struct digest *d)
	REQUIRES(f->lock);
/* Keep *@take_buf as a blob known in @name, unless that is known already. */
const struct fake_blob *
fake_add_blob_locked(struct registry_fake *f, const char *name,
		     const struct digest *d, char **take_buf, size_t size)
	REQUIRES(f->lock);

int fake_has_blob(struct registry *r, const char *repo, const struct digest *d,
		  uint64_t *ret_size, const struct op *op, struct error **errp);
int fake_read_blob(struct registry *r, const char *repo, const struct digest *d,
		   uint64_t size, uint64_t off, uint64_t len, struct sink *sink,
		   const struct op *op, struct error **errp);
int fake_put_blob(struct registry *r, const char *repo, const struct digest *d,
		  struct feed *feed, const struct op *op, struct error **errp);
int fake_mount_blob(struct registry *r, const char *repo, const char *from_repo,
		    const struct digest *d, const struct op *op,
		    struct error **errp);

#endif
