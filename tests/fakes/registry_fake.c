#include "tests/fakes/registry_fake_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

int fake_check(const char *repo, const char *tag, const struct op *op,
	       struct error **errp)
{
	int r = registry_check_names(repo, tag, errp);

	if (r < 0)
		return r;
	return op_go_on(op, errp);
}

static int not_found(struct error **errp, const char *repo, const char *what)
{
	return error_set_kind(errp, ERROR_NOT_FOUND, ENOENT,
			      "there is no '%s' in '%s'", what, repo);
}

/* Tables, under the lock. */

struct fake_repo *fake_repo_locked(struct registry_fake *f, const char *name)
	REQUIRES(f->lock)
{
	struct fake_repo *repo = map_get_str(&f->repos, name);

	if (!repo) {
		repo = xcalloc(1, sizeof(*repo));
		repo->name = xstrdup(name);
		map_put_str(&f->repos, name, repo);
	}
	return repo;
}

const struct fake_blob *fake_blob_locked(struct registry_fake *f,
					 const char *name,
					 const struct digest *d)
	REQUIRES(f->lock)
{
	const struct fake_repo *repo = map_get_str(&f->repos, name);

	return repo ? map_get(&repo->blobs, d->b, DIGEST_SIZE) : NULL;
}

static struct fake_manifest *manifest_locked(struct registry_fake *f,
					     const char *name,
					     const struct digest *d)
	REQUIRES(f->lock)
{
	const struct fake_repo *repo = map_get_str(&f->repos, name);

	return repo ? map_get(&repo->manifests, d->b, DIGEST_SIZE) : NULL;
}

/* Manifests. */

static int fake_resolve(struct registry *r, const char *name, const char *tag,
			struct digest *ret, const struct op *op,
			struct error **errp)
{
	struct registry_fake *f = fake_of(r);
	const struct fake_manifest *m;
	const struct fake_repo *repo;
	int rc = fake_check(name, tag, op, errp);

	if (rc < 0)
		return rc;
	mutex_lock(&f->lock);
	repo = map_get_str(&f->repos, name);
	m = repo ? map_get_str(&repo->tags, tag) : NULL;
	if (m)
		*ret = m->info.self.digest;
	mutex_unlock(&f->lock);
	return m ? 0 : not_found(errp, name, tag);
}

static int fake_get_manifest(struct registry *r, const char *repo,
			     const struct digest *d, struct manifest_bytes *ret,
			     const struct op *op, struct error **errp)
{
	struct registry_fake *f = fake_of(r);
	const struct fake_manifest *m;
	int rc = fake_check(repo, NULL, op, errp);

	if (rc < 0)
		return rc;
	mutex_lock(&f->lock);
	m = manifest_locked(f, repo, d);
	if (m) {
		ret->media_type = xstrdup(m->media_type);
		ret->buf = xmalloc(m->blob->size + 1);
		memcpy(ret->buf, m->blob->buf, m->blob->size);
		ret->buf[m->blob->size] = '\0';
		ret->len = m->blob->size;
	}
	mutex_unlock(&f->lock);
	if (!m)
		return not_found(errp, repo, digest_to_str(d).str);
	op_count_in(op, ret->len);
	return 0;
}

static bool has_needs_locked(struct registry_fake *f, const char *repo,
			     const struct manifest_info *info) REQUIRES(f->lock)
{
	size_t i;

	for (i = 0; i < info->n_needs; i++) {
		const struct descriptor *d = &info->needs[i];

		if (info->is_index ? !manifest_locked(f, repo, &d->digest)
				   : !fake_blob_locked(f, repo, &d->digest))
			return false;
	}
	return true;
}

static int store_manifest_locked(struct registry_fake *f, const char *name,
				 const char *tag, char **take_buf,
				 struct manifest_info *take_info)
	REQUIRES(f->lock)
{
	struct fake_repo *repo = fake_repo_locked(f, name);
	struct digest d = take_info->self.digest;
	struct fake_manifest *m = manifest_locked(f, name, &d);

	if (!has_needs_locked(f, name, take_info))
		return -ENOENT;
	if (!m) {
		m = xcalloc(1, sizeof(*m));
		m->media_type = xstrdup(take_info->self.media_type);
		m->blob = fake_add_blob_locked(f, name, &d, take_buf,
					       (size_t)take_info->self.size);
		m->info = *take_info;
		memset(take_info, 0, sizeof(*take_info));
		map_put(&repo->manifests, d.b, DIGEST_SIZE, m);
	}
	if (tag)
		map_put_str(&repo->tags, tag, m);
	return 0;
}

static int fake_put_manifest(struct registry *r, const char *repo,
			     const char *tag, const char *media_type,
			     const void *buf, size_t len, const struct op *op,
			     struct error **errp)
{
	struct registry_fake *f = fake_of(r);
	cleanup_manifest_info struct manifest_info info = {0};
	cleanup_free char *copy = NULL;
	int rc = fake_check(repo, tag, op, errp);

	if (rc < 0)
		return rc;
	if (len > MANIFEST_PUSH_MAX)
		return error_set(errp, EFBIG, "a manifest of %zu bytes", len);
	rc = manifest_info_parse(buf, len, media_type, &info, errp);
	if (rc < 0)
		return rc;
	copy = xmemdup(buf, len);
	mutex_lock(&f->lock);
	rc = store_manifest_locked(f, repo, tag, &copy, &info);
	mutex_unlock(&f->lock);
	if (rc < 0)
		return error_set(
			errp, ENOENT,
			"the manifest needs blobs that are not in '%s'", repo);
	return 0;
}

/* Lists. */

static bool add_keys(const struct map *m, char ***ret)
{
	const void *key;
	void *value;
	size_t pos = 0, n;

	while (map_next(m, &pos, &key, &n, &value))
		strv_append(ret, xstrndup(key, n));
	return map_count(m) > 0;
}

static int fake_list_tags(struct registry *r, const char *name, char ***ret,
			  const struct op *op, struct error **errp)
{
	struct registry_fake *f = fake_of(r);
	const struct fake_repo *repo;
	bool any;
	int rc = fake_check(name, NULL, op, errp);

	if (rc < 0)
		return rc;
	mutex_lock(&f->lock);
	repo = map_get_str(&f->repos, name);
	any = repo && add_keys(&repo->tags, ret);
	mutex_unlock(&f->lock);
	return any ? 0
		   : error_set_kind(errp, ERROR_NOT_FOUND, ENOENT,
				    "there is no '%s'", name);
}

static int fake_list_repos(struct registry *r, char ***ret, const struct op *op,
			   struct error **errp)
{
	struct registry_fake *f = fake_of(r);
	const void *key;
	void *value;
	size_t pos = 0, n;
	int rc = op_go_on(op, errp);

	if (rc < 0)
		return rc;
	mutex_lock(&f->lock);
	while (map_next(&f->repos, &pos, &key, &n, &value)) {
		const struct fake_repo *repo = value;

		if (map_count(&repo->tags) > 0)
			strv_append(ret, xstrdup(repo->name));
	}
	mutex_unlock(&f->lock);
	return 0;
}

static size_t referrers_locked(const struct fake_repo *repo,
			       const struct digest *subject, const char *type,
			       struct descriptor **ret)
{
	const void *key;
	void *value;
	size_t pos = 0, len, n = 0;

	while (map_next(&repo->manifests, &pos, &key, &len, &value)) {
		const struct fake_manifest *m = value;

		if (!manifest_info_refers(&m->info, subject, type))
			continue;
		*ret = xrealloc(*ret, n + 1, sizeof(**ret));
		descriptor_copy(&(*ret)[n++], &m->info.self);
	}
	return n;
}

static int fake_referrers(struct registry *r, const char *name,
			  const struct digest *subject,
			  const char *artifact_type, struct descriptor **ret,
			  size_t *ret_n, const struct op *op,
			  struct error **errp)
{
	struct registry_fake *f = fake_of(r);
	struct descriptor *found = NULL;
	const struct fake_repo *repo;
	int rc = fake_check(name, NULL, op, errp);

	if (rc < 0)
		return rc;
	mutex_lock(&f->lock);
	repo = map_get_str(&f->repos, name);
	*ret_n = repo ? referrers_locked(repo, subject, artifact_type, &found)
		      : 0;
	mutex_unlock(&f->lock);
	*ret = found;
	return 0;
}

/* The end of things. */

static void manifest_free(struct fake_manifest *m)
{
	free(m->media_type);
	manifest_info_release(&m->info);
	free(m);
}

static void untag_all(struct fake_repo *repo, const struct fake_manifest *m)
{
	const void *key;
	void *value;
	size_t pos = 0, n;

	while (map_next(&repo->tags, &pos, &key, &n, &value)) {
		cleanup_free char *tag = NULL;

		if (value != m)
			continue;
		tag = xstrndup(key, n);
		map_del(&repo->tags, tag, n);
		pos = 0;
	}
}

static bool remove_locked(struct registry_fake *f, const char *name,
			  const char *tag, const struct digest *d)
	REQUIRES(f->lock)
{
	struct fake_repo *repo = map_get_str(&f->repos, name);
	struct fake_manifest *m;

	if (!repo)
		return false;
	if (tag)
		return map_del(&repo->tags, tag, strlen(tag)) != NULL;
	m = map_del(&repo->manifests, d->b, DIGEST_SIZE);
	if (!m)
		return false;
	untag_all(repo, m);
	manifest_free(m);
	return true;
}

static int fake_remove(struct registry *r, const char *repo, const char *tag,
		       const struct digest *d, const struct op *op,
		       struct error **errp)
{
	struct registry_fake *f = fake_of(r);
	bool done;
	int rc = fake_check(repo, tag, op, errp);

	if (rc < 0)
		return rc;
	mutex_lock(&f->lock);
	done = remove_locked(f, repo, tag, d);
	mutex_unlock(&f->lock);
	return done ? 0
		    : not_found(errp, repo, tag ? tag : digest_to_str(d).str);
}

static void repo_free(struct fake_repo *repo)
{
	const void *key;
	void *value;
	size_t pos = 0, n;

	while (map_next(&repo->manifests, &pos, &key, &n, &value))
		manifest_free(value);
	map_release(&repo->blobs);
	map_release(&repo->manifests);
	map_release(&repo->tags);
	free(repo->name);
	free(repo);
}

static void fake_free(struct registry *r)
{
	struct registry_fake *f = fake_of(r);
	const void *key;
	void *value;
	size_t pos = 0, n;

	while (map_next(&f->repos, &pos, &key, &n, &value))
		repo_free(value);
	map_release(&f->repos);
	while (f->all) {
		struct fake_blob *b = f->all;

		f->all = b->next;
		free(b->buf);
		free(b);
	}
	mutex_destroy(&f->lock);
	free(f);
}

static const struct registry_ops fake_ops = {
	.resolve = fake_resolve,
	.get_manifest = fake_get_manifest,
	.put_manifest = fake_put_manifest,
	.has_blob = fake_has_blob,
	.read_blob = fake_read_blob,
	.put_blob = fake_put_blob,
	.mount_blob = fake_mount_blob,
	.list_tags = fake_list_tags,
	.referrers = fake_referrers,
	.remove = fake_remove,
	.list_repos = fake_list_repos,
	.free = fake_free,
};

struct registry *registry_fake_new(void)
{
	struct registry_fake *f = xcalloc(1, sizeof(*f));

	f->registry.ops = &fake_ops;
	mutex_init(&f->lock, LOCK_FAKE);
	return &f->registry;
}
