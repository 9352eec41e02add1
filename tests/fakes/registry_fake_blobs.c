#include "tests/fakes/registry_fake_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "tests/fakes/pieces.h"

static const struct fake_blob *
get_blob(struct registry_fake *f, const char *repo, const struct digest *d)
{
	const struct fake_blob *b;

	mutex_lock(&f->lock);
	b = fake_blob_locked(f, repo, d);
	mutex_unlock(&f->lock);
	return b;
}

int fake_has_blob(struct registry *r, const char *repo, const struct digest *d,
		  uint64_t *ret_size, const struct op *op, struct error **errp)
{
	const struct fake_blob *b;
	int rc = fake_check(repo, NULL, op, errp);

	if (rc < 0)
		return rc;
	b = get_blob(fake_of(r), repo, d);
	if (b && ret_size)
		*ret_size = b->size;
	return b != NULL;
}

int fake_read_blob(struct registry *r, const char *repo, const struct digest *d,
		   uint64_t size, uint64_t off, uint64_t len, struct sink *sink,
		   const struct op *op, struct error **errp)
{
	const struct fake_blob *b;
	int rc = fake_check(repo, NULL, op, errp);

	if (rc < 0)
		return rc;
	b = get_blob(fake_of(r), repo, d);
	if (!b)
		return error_set(errp, ENOENT, "there is no blob '%s' in '%s'",
				 digest_to_str(d).str, repo);
	if (b->size != size)
		return error_set(errp, EPROTO, "blob '%s' has another size",
				 digest_to_str(d).str);
	if (off > size || len > size - off)
		return error_set(errp, EINVAL, "a range beyond blob '%s'",
				 digest_to_str(d).str);
	return sink_put(sink, b->buf + off, len, op, errp);
}

/* Into the list of all, and known in @repo. */
const struct fake_blob *
fake_add_blob_locked(struct registry_fake *f, const char *name,
		     const struct digest *d, char **take_buf, size_t size)
	REQUIRES(f->lock)
{
	const struct fake_blob *known = fake_blob_locked(f, name, d);
	struct fake_blob *b;

	if (known)
		return known;
	b = xcalloc(1, sizeof(*b));
	b->digest = *d;
	b->size = size;
	b->buf = steal_ptr(take_buf);
	b->next = f->all;
	f->all = b;
	map_put(&fake_repo_locked(f, name)->blobs, d->b, DIGEST_SIZE, b);
	return b;
}

int fake_put_blob(struct registry *r, const char *repo, const struct digest *d,
		  struct feed *feed, const struct op *op, struct error **errp)
{
	struct registry_fake *f = fake_of(r);
	cleanup_free char *buf = NULL;
	struct digest got;
	int rc = fake_check(repo, NULL, op, errp);

	if (rc < 0)
		return rc;
	buf = xmalloc((size_t)feed->size + 1);
	rc = feed_get(feed, buf, op, errp);
	if (rc < 0)
		return rc;
	got = digest_of_buf(buf, (size_t)feed->size);
	if (!digest_equal(&got, d))
		return error_set(errp, EBADMSG, "blob '%s' arrived as '%s'",
				 digest_to_str(d).str, digest_to_str(&got).str);
	mutex_lock(&f->lock);
	fake_add_blob_locked(f, repo, d, &buf, (size_t)feed->size);
	mutex_unlock(&f->lock);
	return 0;
}

int fake_mount_blob(struct registry *r, const char *repo, const char *from_repo,
		    const struct digest *d, const struct op *op,
		    struct error **errp)
{
	struct registry_fake *f = fake_of(r);
	const struct fake_blob *b;
	int rc = fake_check(repo, NULL, op, errp);

	if (rc == 0)
		rc = fake_check(from_repo, NULL, op, errp);
	if (rc < 0)
		return rc;
	mutex_lock(&f->lock);
	b = fake_blob_locked(f, from_repo, d);
	if (b)
		map_put(&fake_repo_locked(f, repo)->blobs, d->b, DIGEST_SIZE,
			(void *)b);
	mutex_unlock(&f->lock);
	return b != NULL;
}
