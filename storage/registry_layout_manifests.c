#include "storage/registry_layout_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/map.h"
#include "storage/manifest_info.h"

/* Reading. */

static int read_document(int dirfd, const struct digest *d, char **ret,
			 size_t *ret_len, struct error **errp)
{
	uint64_t size = 0;
	cleanup_fd int fd = layout_open_blob(dirfd, d, &size, errp);
	cleanup_free char *buf = NULL;
	ssize_t n;

	if (fd < 0)
		return fd;
	if (size > MANIFEST_MAX)
		return error_set(errp, EFBIG, "manifest '%s' of %llu bytes",
				 digest_to_str(d).str,
				 (unsigned long long)size);
	buf = xmalloc((size_t)size + 1);
	n = io_pread_full(fd, buf, (size_t)size, 0);
	if (n < 0)
		return error_set_errno(errp, (int)-n, "manifest '%s'",
				       digest_to_str(d).str);
	buf[n] = '\0';
	*ret = steal_ptr(&buf);
	*ret_len = (size_t)n;
	return 0;
}

static int read_info(int dirfd, const struct descriptor *d,
		     struct manifest_info *ret)
{
	cleanup_free char *buf = NULL;
	size_t len = 0;
	int r = read_document(dirfd, &d->digest, &buf, &len, NULL);

	if (r < 0)
		return r;
	return manifest_info_parse(buf, len, d->media_type, ret, NULL);
}

static const struct descriptor *among(const struct manifest_info *info,
				      const struct digest *d)
{
	size_t i;

	for (i = 0; info->is_index && i < info->n_needs; i++)
		if (digest_equal(&info->needs[i].digest, d))
			return &info->needs[i];
	return NULL;
}

/* A manifest is what index.json lists, or what an index listed there does. Any
 * other blob is none, whatever it contains. False: none. */
static bool find_listed(int dirfd, const struct layout_index *idx,
			const struct digest *d, struct descriptor *ret)
{
	const struct layout_entry *e = layout_index_by_digest(idx, d);
	const struct descriptor *found = e ? &e->desc : NULL;
	size_t i;

	if (found)
		descriptor_copy(ret, found);
	for (i = 0; i < idx->n && !found; i++) {
		cleanup_manifest_info struct manifest_info info = {0};

		e = &idx->entries[i];
		if (!e->usable ||
		    strcmp(e->desc.media_type, MEDIA_TYPE_INDEX) != 0 ||
		    read_info(dirfd, &e->desc, &info) < 0)
			continue;
		found = among(&info, d);
		if (found)
			descriptor_copy(ret, found);
	}
	return found;
}

int layout_get_manifest(struct registry *r, const char *repo,
			const struct digest *d, struct manifest_bytes *ret,
			const struct op *op, struct error **errp)
{
	cleanup_layout_index struct layout_index idx = LAYOUT_INDEX_INIT;
	cleanup_descriptor struct descriptor desc = {0};
	cleanup_free char *buf = NULL;
	cleanup_fd int dirfd = -1;
	size_t len = 0;
	int rc;

	rc = layout_look(r, repo, NULL, &dirfd, &idx, errp);
	if (rc < 0)
		return rc;
	if (!find_listed(dirfd, &idx, d, &desc))
		return error_set_kind(errp, ERROR_NOT_FOUND, ENOENT,
				      "folder '%s': there is no manifest '%s'",
				      layout_of(r)->folder,
				      digest_to_str(d).str);
	rc = read_document(dirfd, d, &buf, &len, errp);
	if (rc < 0)
		return error_prefix(errp, rc, "folder '%s'",
				    layout_of(r)->folder);
	if (len != desc.size)
		return error_set(errp, EBADMSG,
				 "folder '%s': manifest '%s' has %zu bytes, "
				 "not %llu",
				 layout_of(r)->folder, digest_to_str(d).str,
				 len, (unsigned long long)desc.size);
	op_count_in(op, len);
	ret->media_type = steal_ptr(&desc.media_type);
	ret->buf = steal_ptr(&buf);
	ret->len = len;
	return 0;
}

static void append_descriptor(struct descriptor **v, size_t *n,
			      struct descriptor *take_d)
{
	*v = xrealloc(*v, *n + 1, sizeof(**v));
	(*v)[(*n)++] = *take_d;
	memset(take_d, 0, sizeof(*take_d));
}

/* What cannot be read or parsed is some other tool's, and no referrer. */
static void add_referrer(int dirfd, const struct descriptor *d,
			 const struct digest *subject, const char *type,
			 struct descriptor **ret, size_t *ret_n)
{
	cleanup_manifest_info struct manifest_info info = {0};

	if (read_info(dirfd, d, &info) == 0 &&
	    digest_equal(&info.self.digest, &d->digest) &&
	    manifest_info_refers(&info, subject, type))
		append_descriptor(ret, ret_n, &info.self);
}

int layout_referrers(struct registry *r, const char *repo,
		     const struct digest *subject, const char *artifact_type,
		     struct descriptor **ret, size_t *ret_n,
		     const struct op *op, struct error **errp)
{
	cleanup_layout_index struct layout_index idx = LAYOUT_INDEX_INIT;
	cleanup_map struct map seen = MAP_INIT;
	struct descriptor *found = NULL;
	cleanup_fd int dirfd = -1;
	size_t i, n = 0;
	int rc;

	rc = layout_look(r, repo, NULL, &dirfd, &idx, errp);
	if (rc < 0)
		return rc;
	for (i = 0; i < idx.n; i++) {
		const struct descriptor *d = &idx.entries[i].desc;

		if (!idx.entries[i].usable ||
		    map_put(&seen, d->digest.b, DIGEST_SIZE, &seen))
			continue;
		rc = op_go_on(op, errp);
		if (rc < 0) {
			descriptors_free(found, n);
			return rc;
		}
		add_referrer(dirfd, d, subject, artifact_type, &found, &n);
	}
	*ret = found;
	*ret_n = n;
	return 0;
}

/* Writing. */

static int check_needs(int blobsfd, const struct manifest_info *info,
		       struct error **errp)
{
	size_t i;

	for (i = 0; i < info->n_needs; i++) {
		const struct descriptor *d = &info->needs[i];
		struct stat st;

		if (fstatat(blobsfd, digest_to_hex(&d->digest).str, &st, 0) < 0)
			return error_set_errno(errp, errno,
					       "the manifest needs blob '%s'",
					       digest_to_str(&d->digest).str);
		if ((uint64_t)st.st_size != d->size)
			return error_set(errp, EINVAL,
					 "the manifest says that blob '%s' has "
					 "%llu bytes, it has %llu",
					 digest_to_str(&d->digest).str,
					 (unsigned long long)d->size,
					 (unsigned long long)st.st_size);
	}
	return 0;
}

/* The manifest and the names of all blobs reach the disk before the index
 * that speaks of them does. */
static int store_manifest(int blobsfd, const struct manifest_info *info,
			  const void *buf, const struct op *op,
			  struct error **errp)
{
	struct feed_mem feed;
	int r = check_needs(blobsfd, info, errp);

	if (r < 0)
		return r;
	feed_mem_init(&feed, buf, (size_t)info->self.size);
	r = layout_store_blob(blobsfd, &info->self.digest, &feed.feed, op,
			      errp);
	if (r < 0)
		return r;
	r = io_fsync_dir(blobsfd);
	if (r < 0)
		return error_set_errno(errp, -r, "cannot flush '%s'",
				       LAYOUT_BLOBS);
	return 0;
}

static int commit_manifest(struct registry_layout *l, const char *name,
			   const struct manifest_info *info, const void *buf,
			   const struct op *op, struct error **errp)
{
	cleanup_layout_update struct layout_update up = LAYOUT_UPDATE_INIT;
	cleanup_fd int dirfd = layout_prepare(l->folder, errp);
	cleanup_fd int blobsfd = -1;
	int r;

	if (dirfd < 0)
		return dirfd;
	blobsfd = layout_open_blobs_dir(dirfd, errp);
	if (blobsfd < 0)
		return blobsfd;
	r = store_manifest(blobsfd, info, buf, op, errp);
	if (r < 0)
		return r;
	r = layout_update_begin(&up, dirfd, op, errp);
	if (r < 0)
		return r;
	layout_index_set(&up.idx, name, &info->self);
	return layout_update_commit(&up, errp);
}

int layout_put_manifest(struct registry *r, const char *repo, const char *tag,
			const char *media_type, const void *buf, size_t len,
			const struct op *op, struct error **errp)
{
	cleanup_manifest_info struct manifest_info info = {0};
	cleanup_free char *name = NULL;
	int rc = registry_check_names(repo, tag, errp);

	if (rc < 0)
		return rc;
	if (len > MANIFEST_PUSH_MAX)
		return error_set(errp, EFBIG, "a manifest of %zu bytes", len);
	rc = manifest_info_parse(buf, len, media_type, &info, errp);
	if (rc < 0)
		return rc;
	if (tag)
		name = xasprintf("%s:%s", repo, tag);
	rc = commit_manifest(layout_of(r), name, &info, buf, op, errp);
	return error_prefix(errp, rc, "folder '%s'", layout_of(r)->folder);
}
