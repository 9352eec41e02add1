#include "tests/fakes/fakes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "tests/fakes/fault_internal.h"

struct registry_fault {
	struct registry registry;
	struct registry *inner;
	struct fault_state state;
	struct mutex lock;
	struct registry_counts counts; /* under the lock */
};

static struct registry_fault *fault_of(struct registry *r)
{
	return (struct registry_fault *)r;
}

/* Count one call, of the kind that @counter counts, and see what becomes of
 * it; as fault_hit(). */
static int enter(struct registry_fault *f, unsigned *counter, const char *call,
		 const struct op *op, struct error **errp)
{
	mutex_lock(&f->lock);
	(*counter)++;
	mutex_unlock(&f->lock);
	return fault_hit(&f->state, call, op, errp);
}

static void count_bytes(struct registry_fault *f, uint64_t *counter, uint64_t n)
{
	mutex_lock(&f->lock);
	*counter += n;
	mutex_unlock(&f->lock);
}

static int fault_resolve(struct registry *r, const char *repo, const char *tag,
			 struct digest *ret, const struct op *op,
			 struct error **errp)
{
	struct registry_fault *f = fault_of(r);
	int hit = enter(f, &f->counts.resolve, "resolve", op, errp);
	int rc;

	if (hit < 0)
		return hit;
	rc = f->inner->ops->resolve(f->inner, repo, tag, ret, op, errp);
	if (rc == 0 && hit)
		fault_flip(&f->state.fault, ret->b, DIGEST_SIZE, 0,
			   DIGEST_SIZE);
	return rc;
}

static int fault_get_manifest(struct registry *r, const char *repo,
			      const struct digest *d,
			      struct manifest_bytes *ret, const struct op *op,
			      struct error **errp)
{
	struct registry_fault *f = fault_of(r);
	int hit = enter(f, &f->counts.get_manifest, "get_manifest", op, errp);
	int rc;

	if (hit < 0)
		return hit;
	rc = f->inner->ops->get_manifest(f->inner, repo, d, ret, op, errp);
	if (rc == 0 && hit) {
		ret->len = (size_t)fault_length(&f->state.fault, ret->len);
		fault_flip(&f->state.fault, ret->buf, ret->len, 0, ret->len);
	}
	return rc;
}

static int fault_put_manifest(struct registry *r, const char *repo,
			      const char *tag, const char *media_type,
			      const void *buf, size_t len, const struct op *op,
			      struct error **errp)
{
	struct registry_fault *f = fault_of(r);
	int hit = enter(f, &f->counts.put_manifest, "put_manifest", op, errp);
	cleanup_free char *copy = NULL;

	if (hit < 0)
		return hit;
	if (hit) {
		copy = xmemdup(buf, len);
		len = (size_t)fault_length(&f->state.fault, len);
		fault_flip(&f->state.fault, copy, len, 0, len);
		buf = copy;
	}
	return f->inner->ops->put_manifest(f->inner, repo, tag, media_type, buf,
					   len, op, errp);
}

static int fault_has_blob(struct registry *r, const char *repo,
			  const struct digest *d, uint64_t *ret_size,
			  const struct op *op, struct error **errp)
{
	struct registry_fault *f = fault_of(r);
	int hit = enter(f, &f->counts.has_blob, "has_blob", op, errp);

	return hit < 0 ? hit
		       : f->inner->ops->has_blob(f->inner, repo, d, ret_size,
						 op, errp);
}

static int fault_read_blob(struct registry *r, const char *repo,
			   const struct digest *d, uint64_t size, uint64_t off,
			   uint64_t len, struct sink *sink, const struct op *op,
			   struct error **errp)
{
	struct registry_fault *f = fault_of(r);
	int hit = enter(f, &f->counts.read_blob, "read_blob", op, errp);
	struct fault_sink fs;
	int rc = 0;

	if (hit < 0)
		return hit;
	if (hit)
		len = fault_length(&f->state.fault, len);
	fault_sink_init(&fs, sink, len, hit ? &f->state.fault : NULL);
	if (len > 0)
		rc = f->inner->ops->read_blob(f->inner, repo, d, size, off, len,
					      &fs.sink, op, errp);
	count_bytes(f, &f->counts.bytes_read, fs.bytes);
	return rc;
}

static int fault_put_blob(struct registry *r, const char *repo,
			  const struct digest *d, struct feed *feed,
			  const struct op *op, struct error **errp)
{
	struct registry_fault *f = fault_of(r);
	int hit = enter(f, &f->counts.put_blob, "put_blob", op, errp);
	struct fault_feed ff;
	int rc;

	if (hit < 0)
		return hit;
	fault_feed_init(&ff, feed, hit ? &f->state.fault : NULL);
	rc = f->inner->ops->put_blob(f->inner, repo, d, &ff.feed, op, errp);
	count_bytes(f, &f->counts.bytes_put, ff.bytes);
	return rc;
}

static int fault_mount_blob(struct registry *r, const char *repo,
			    const char *from_repo, const struct digest *d,
			    const struct op *op, struct error **errp)
{
	struct registry_fault *f = fault_of(r);
	int hit = enter(f, &f->counts.mount_blob, "mount_blob", op, errp);

	return hit < 0 ? hit
		       : f->inner->ops->mount_blob(f->inner, repo, from_repo, d,
						   op, errp);
}

static int fault_list_tags(struct registry *r, const char *repo, char ***ret,
			   const struct op *op, struct error **errp)
{
	struct registry_fault *f = fault_of(r);
	int hit = enter(f, &f->counts.other, "list_tags", op, errp);

	return hit < 0 ? hit
		       : f->inner->ops->list_tags(f->inner, repo, ret, op,
						  errp);
}

static int fault_referrers(struct registry *r, const char *repo,
			   const struct digest *subject,
			   const char *artifact_type, struct descriptor **ret,
			   size_t *ret_n, const struct op *op,
			   struct error **errp)
{
	struct registry_fault *f = fault_of(r);
	int hit = enter(f, &f->counts.other, "referrers", op, errp);

	return hit < 0 ? hit
		       : f->inner->ops->referrers(f->inner, repo, subject,
						  artifact_type, ret, ret_n, op,
						  errp);
}

static int fault_remove(struct registry *r, const char *repo, const char *tag,
			const struct digest *d, const struct op *op,
			struct error **errp)
{
	struct registry_fault *f = fault_of(r);
	int hit = enter(f, &f->counts.other, "remove", op, errp);

	if (hit < 0)
		return hit;
	if (!f->inner->ops->remove)
		return error_set(errp, EOPNOTSUPP, "cannot remove");
	return f->inner->ops->remove(f->inner, repo, tag, d, op, errp);
}

static int fault_list_repos(struct registry *r, char ***ret,
			    const struct op *op, struct error **errp)
{
	struct registry_fault *f = fault_of(r);
	int hit = enter(f, &f->counts.other, "list_repos", op, errp);

	if (hit < 0)
		return hit;
	if (!f->inner->ops->list_repos)
		return error_set(errp, EOPNOTSUPP, "cannot list repositories");
	return f->inner->ops->list_repos(f->inner, ret, op, errp);
}

static void fault_free(struct registry *r)
{
	struct registry_fault *f = fault_of(r);

	registry_free(f->inner);
	fault_state_release(&f->state);
	mutex_destroy(&f->lock);
	free(f);
}

static const struct registry_ops fault_ops = {
	.resolve = fault_resolve,
	.get_manifest = fault_get_manifest,
	.put_manifest = fault_put_manifest,
	.has_blob = fault_has_blob,
	.read_blob = fault_read_blob,
	.put_blob = fault_put_blob,
	.mount_blob = fault_mount_blob,
	.list_tags = fault_list_tags,
	.referrers = fault_referrers,
	.remove = fault_remove,
	.list_repos = fault_list_repos,
	.free = fault_free,
};

struct registry *registry_fault_new(struct registry *inner,
				    const struct fault *fault)
{
	struct registry_fault *f = xcalloc(1, sizeof(*f));

	f->registry.ops = &fault_ops;
	f->inner = inner;
	fault_state_init(&f->state, fault);
	mutex_init(&f->lock, LOCK_FAKE);
	return &f->registry;
}

struct registry_counts registry_fault_counts(struct registry *r)
{
	struct registry_fault *f = fault_of(r);
	struct registry_counts counts;

	mutex_lock(&f->lock);
	counts = f->counts;
	mutex_unlock(&f->lock);
	return counts;
}
