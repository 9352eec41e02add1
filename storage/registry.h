/*
 * Somewhere bundles are pushed to and read from: an OCI registry over HTTP, an
 * OCI image-layout folder; in tests memory, or a wrapper that makes calls of
 * another registry fail (tests/fakes/).
 *
 * A registry object stands for one host or one folder; `repo` names a
 * repository in it (OCI distribution specification, name grammar).
 *
 * Content is not verified here: whoever reads hashes what arrives. get_manifest
 * is the exception that proves it: it returns bytes, and the caller hashes.
 *
 * Errors, everywhere: -ENOENT no such thing; -EACCES refused; -ETIMEDOUT the
 * operation's deadline passed, retries included; -ECANCELED; -EPROTO an answer
 * that breaks the protocol; -EFBIG over a limit; -EIO anything else. Retrying
 * happens inside (storage/retry.h).
 *
 * Threads: any operation on any thread, many at once; each may block on the
 * network until its op's deadline. Hold no lock across one.
 */
#ifndef STORAGE_REGISTRY_H
#define STORAGE_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "base/op.h"
#include "storage/descriptor.h"
#include "storage/sink.h"

#define MANIFEST_MAX      (4u << 20) /* bytes read */
#define MANIFEST_PUSH_MAX 4000000    /* bytes pushed */

struct manifest_bytes {
	char *media_type;
	char *buf;
	size_t len;
};
void manifest_bytes_release(struct manifest_bytes *m);
#define cleanup_manifest_bytes __attribute__((cleanup(manifest_bytes_release)))

struct registry;

/* A look at a registry, step by step. */
struct registry_probe {
	/* The step that failed, or REGISTRY_OPEN. */
	enum registry_step {
		REGISTRY_NAME,   /* its name is looked up */
		REGISTRY_ANSWER, /* it is asked who it is */
		REGISTRY_LOGIN,  /* it is shown who we are */
		REGISTRY_OPEN,   /* it lets us in */
	} step;
	char *url;   /* "https://host:443" */
	char *proxy; /* "host:port" on the way there; NULL: none */
	bool named;  /* not an address: DNS was asked, unless the proxy is */
	/* Once it answered. */
	bool has_clock;
	int64_t ahead_s; /* how much later it is there */
	bool wants_login;
	char *login_from; /* in words; NULL: there is none to show */
};
void registry_probe_release(struct registry_probe *p);
#define cleanup_registry_probe __attribute__((cleanup(registry_probe_release)))

struct registry_ops {
	/* The digest that tag @tag of @repo has now. Registries that do not
	 * say are asked for the manifest, which is hashed. */
	int (*resolve)(struct registry *r, const char *repo, const char *tag,
		       struct digest *ret, const struct op *op,
		       struct error **errp);

	/* The manifest's bytes, ≤ MANIFEST_MAX. */
	int (*get_manifest)(struct registry *r, const char *repo,
			    const struct digest *d, struct manifest_bytes *ret,
			    const struct op *op, struct error **errp);

	/* Store a manifest; @tag NULL: by digest only. Moving the tag is the
	 * commit point of a push. */
	int (*put_manifest)(struct registry *r, const char *repo,
			    const char *tag, const char *media_type,
			    const void *buf, size_t len, const struct op *op,
			    struct error **errp);

	/* 1 present (size in *@ret_size when not NULL), 0 absent, or an
	 * error. -EACCES: the registry does not say; some say so of every
	 * blob that is missing. */
	int (*has_blob)(struct registry *r, const char *repo,
			const struct digest *d, uint64_t *ret_size,
			const struct op *op, struct error **errp);

	/* Deliver exactly bytes [@off, @off + @len) of blob @d, whose whole
	 * size is @size, to @sink. @len > 0. A blob of another size is
	 * -EPROTO. */
	int (*read_blob)(struct registry *r, const char *repo,
			 const struct digest *d, uint64_t size, uint64_t off,
			 uint64_t len, struct sink *sink, const struct op *op,
			 struct error **errp);

	/* Store a blob whole; the store checks that the bytes hash to @d
	 * (-EBADMSG when they do not). */
	int (*put_blob)(struct registry *r, const char *repo,
			const struct digest *d, struct feed *feed,
			const struct op *op, struct error **errp);

	/* Make a blob of @from_repo known in @repo without moving bytes: 1
	 * done, 0 not possible. */
	int (*mount_blob)(struct registry *r, const char *repo,
			  const char *from_repo, const struct digest *d,
			  const struct op *op, struct error **errp);

	/* Tags of @repo, unsorted, appended to *@ret. */
	int (*list_tags)(struct registry *r, const char *repo, char ***ret,
			 const struct op *op, struct error **errp);

	/* Manifests whose `subject` is @subject. @artifact_type NULL: all.
	 * *@ret is malloc()ed; release each. */
	int (*referrers)(struct registry *r, const char *repo,
			 const struct digest *subject,
			 const char *artifact_type, struct descriptor **ret,
			 size_t *ret_n, const struct op *op,
			 struct error **errp);

	/* Forget @tag of @repo; with @tag NULL, manifest @d and every tag of
	 * @repo that names it. Blobs stay. NULL, or -EOPNOTSUPP: this registry
	 * cannot. */
	int (*remove)(struct registry *r, const char *repo, const char *tag,
		      const struct digest *d, const struct op *op,
		      struct error **errp);

	/* Repositories that have a tag, unsorted, appended to *@ret. NULL, or
	 * -EOPNOTSUPP: this registry does not say. */
	int (*list_repos)(struct registry *r, char ***ret, const struct op *op,
			  struct error **errp);

	/* Ask as little as tells whether it is there and lets us read @repo
	 * (NULL: anything at all). *@ret is filled in also when a step fails,
	 * and needs releasing. NULL: there is nobody to ask. */
	int (*probe)(struct registry *r, const char *repo,
		     struct registry_probe *ret, const struct op *op,
		     struct error **errp);

	void (*free)(struct registry *r);
};

struct registry { /* the first member of every implementation */
	const struct registry_ops *ops;
};

static inline void registry_free(struct registry *r)
{
	if (r)
		r->ops->free(r);
}
static inline void registry_freep(struct registry **r)
{
	registry_free(*r);
	*r = 0;
}
#define cleanup_registry __attribute__((cleanup(registry_freep)))

/* True for a repository name of the distribution specification, ≤ 255. */
bool repo_name_valid(const char *s);
/* [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127} */
bool tag_valid(const char *s);
/* -EINVAL unless both are valid; @tag may be NULL. */
int registry_check_names(const char *repo, const char *tag,
			 struct error **errp);

/*
 * An OCI image-layout folder (image specification, image-layout.md), created
 * on the first put; a folder that is not there reads as an empty registry.
 * Several repositories share it: a manifest's name in index.json is
 * "<repo>:<tag>". Blobs, and manifests by digest, belong to the folder and are
 * found under any repository. index.json changes under a lock, by rename: safe
 * for many processes at once. A relative @folder is taken from the current
 * directory of this call.
 *
 * A manifest put without a tag, or whose last tag moved, stays in index.json
 * as an entry without a name. What put_manifest() committed survives a power
 * cut, its blobs included; a blob that no manifest names yet may not. A
 * manifest whose blobs are missing is refused (-ENOENT).
 */
struct registry *registry_layout_new(const char *folder);

#endif
