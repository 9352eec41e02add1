#include "storage/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/map.h"
#include "storage/layout_folder.h"
#include "storage/manifest_info.h"
#include "storage/opcheck.h"
#include "storage/staged.h"

#define READ_PIECE ((size_t)256 << 10)

struct registry_layout {
	struct registry registry;
	char *folder; /* absolute */
};

static struct registry_layout *layout_of(struct registry *r)
{
	return (struct registry_layout *)r;
}

static int check_names(const char *repo, const char *tag, struct error **errp)
{
	if (!repo_name_valid(repo))
		return error_set(errp, EINVAL, "'%s' is no repository name",
				 repo);
	if (tag && !tag_valid(tag))
		return error_set(errp, EINVAL, "'%s' is no tag", tag);
	return 0;
}

/* The index as it is now, with the folder: a missing folder has an empty one
 * and *@ret_dirfd -1. */
static int read_folder(struct registry_layout *l, int *ret_dirfd,
		       struct layout_index *ret, struct error **errp)
{
	cleanup_error struct error *err = NULL;
	cleanup_fd int fd = layout_open(l->folder, &err);
	int r;

	if (fd == -ENOENT) {
		memset(ret, 0, sizeof(*ret));
		return 0;
	}
	if (fd < 0)
		return error_propagate(errp, &err, fd);
	r = layout_read_index(fd, ret, errp);
	if (r < 0)
		return error_prefix(errp, r, "folder '%s'", l->folder);
	*ret_dirfd = steal_fd(&fd);
	return 0;
}

static int layout_ping(struct registry *r, const struct op *op,
		       struct error **errp)
{
	cleanup_layout_index struct layout_index idx = LAYOUT_INDEX_INIT;
	cleanup_fd int dirfd = -1;

	return read_folder(layout_of(r), &dirfd, &idx, errp);
}

/* Tags. */

static int layout_resolve(struct registry *r, const char *repo, const char *tag,
			  struct digest *ret, const struct op *op,
			  struct error **errp)
{
	cleanup_layout_index struct layout_index idx = LAYOUT_INDEX_INIT;
	cleanup_free char *name = xasprintf("%s:%s", repo, tag);
	const struct layout_entry *e = NULL;
	cleanup_fd int dirfd = -1;
	int rc;

	rc = check_names(repo, tag, errp);
	if (rc < 0)
		return rc;
	rc = read_folder(layout_of(r), &dirfd, &idx, errp);
	if (rc < 0)
		return rc;
	rc = layout_index_find(&idx, name, &e, errp);
	if (rc == -EINVAL)
		rc = -EPROTO;
	if (rc < 0)
		return error_prefix(errp, rc, "folder '%s'",
				    layout_of(r)->folder);
	*ret = e->desc.digest;
	return 0;
}

/* The tag in "<repo>:<tag>" when @repo is that repository; NULL otherwise. */
static const char *tag_in(const char *name, const char *repo)
{
	size_t n = strlen(repo);

	if (!name || strncmp(name, repo, n) != 0 || name[n] != ':')
		return NULL;
	return tag_valid(name + n + 1) ? name + n + 1 : NULL;
}

/* Append @s unless @seen has it. */
static void add_once(struct map *seen, char ***v, const char *s)
{
	if (map_get_str(seen, s))
		return;
	map_put_str(seen, s, seen);
	strv_append(v, xstrdup(s));
}

static int layout_list_tags(struct registry *r, const char *repo, char ***ret,
			    const struct op *op, struct error **errp)
{
	cleanup_layout_index struct layout_index idx = LAYOUT_INDEX_INIT;
	cleanup_map struct map seen = MAP_INIT;
	cleanup_fd int dirfd = -1;
	bool any = false;
	size_t i;
	int rc;

	rc = check_names(repo, NULL, errp);
	if (rc < 0)
		return rc;
	rc = read_folder(layout_of(r), &dirfd, &idx, errp);
	if (rc < 0)
		return rc;
	for (i = 0; i < idx.n; i++) {
		const char *tag =
			tag_in(layout_entry_name(&idx.entries[i]), repo);

		if (!tag)
			continue;
		add_once(&seen, ret, tag);
		any = true;
	}
	if (!any)
		return error_set_kind(errp, ERROR_NOT_FOUND, ENOENT,
				      "folder '%s': there is no '%s'",
				      layout_of(r)->folder, repo);
	return 0;
}

/* The repository in "<repo>:<tag>" on the heap; NULL for other names. */
static char *repo_in(const char *name)
{
	const char *colon = name ? strchr(name, ':') : NULL;
	cleanup_free char *repo = NULL;

	if (!colon || !tag_valid(colon + 1))
		return NULL;
	repo = xstrndup(name, (size_t)(colon - name));
	return repo_name_valid(repo) ? steal_ptr(&repo) : NULL;
}

static int layout_list_repos(struct registry *r, char ***ret,
			     const struct op *op, struct error **errp)
{
	cleanup_layout_index struct layout_index idx = LAYOUT_INDEX_INIT;
	cleanup_map struct map seen = MAP_INIT;
	cleanup_fd int dirfd = -1;
	size_t i;
	int rc;

	rc = read_folder(layout_of(r), &dirfd, &idx, errp);
	if (rc < 0)
		return rc;
	for (i = 0; i < idx.n; i++) {
		cleanup_free char *repo =
			repo_in(layout_entry_name(&idx.entries[i]));

		if (repo)
			add_once(&seen, ret, repo);
	}
	return 0;
}

/* Manifests, read. */

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

static char *media_type_among(const struct manifest_info *info,
			      const struct digest *d)
{
	size_t i;

	for (i = 0; info->is_index && i < info->n_needs; i++)
		if (digest_equal(&info->needs[i].digest, d))
			return xstrdup(info->needs[i].media_type);
	return NULL;
}

/* A manifest is what index.json lists, or what an index listed there does. Any
 * other blob is none, whatever it contains. On the heap; NULL: none. */
static char *media_type_of(int dirfd, const struct layout_index *idx,
			   const struct digest *d)
{
	const struct layout_entry *e = layout_index_by_digest(idx, d);
	char *found = NULL;
	size_t i;

	if (e)
		return xstrdup(e->desc.media_type);
	for (i = 0; i < idx->n && !found; i++) {
		cleanup_manifest_info struct manifest_info info = {0};

		e = &idx->entries[i];
		if (e->usable &&
		    strcmp(e->desc.media_type, MEDIA_TYPE_INDEX) == 0 &&
		    read_info(dirfd, &e->desc, &info) == 0)
			found = media_type_among(&info, d);
	}
	return found;
}

static int layout_get_manifest(struct registry *r, const char *repo,
			       const struct digest *d,
			       struct manifest_bytes *ret, const struct op *op,
			       struct error **errp)
{
	cleanup_layout_index struct layout_index idx = LAYOUT_INDEX_INIT;
	cleanup_free char *media_type = NULL;
	cleanup_free char *buf = NULL;
	cleanup_fd int dirfd = -1;
	size_t len = 0;
	int rc;

	rc = check_names(repo, NULL, errp);
	if (rc < 0)
		return rc;
	rc = read_folder(layout_of(r), &dirfd, &idx, errp);
	if (rc < 0)
		return rc;
	media_type = media_type_of(dirfd, &idx, d);
	if (!media_type)
		return error_set_kind(errp, ERROR_NOT_FOUND, ENOENT,
				      "folder '%s': there is no manifest '%s'",
				      layout_of(r)->folder,
				      digest_to_str(d).str);
	rc = read_document(dirfd, d, &buf, &len, errp);
	if (rc < 0)
		return error_prefix(errp, rc, "folder '%s'",
				    layout_of(r)->folder);
	op_count_in(op, len);
	ret->media_type = steal_ptr(&media_type);
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

static bool is_referrer(const struct manifest_info *info,
			const struct digest *subject, const char *type)
{
	if (!info->has_subject || !digest_equal(&info->subject, subject))
		return false;
	return !type || (info->self.artifact_type &&
			 strcmp(info->self.artifact_type, type) == 0);
}

/* What cannot be read or parsed is some other tool's, and no referrer. */
static void add_referrer(int dirfd, const struct descriptor *d,
			 const struct digest *subject, const char *type,
			 struct descriptor **ret, size_t *ret_n)
{
	cleanup_manifest_info struct manifest_info info = {0};

	if (read_info(dirfd, d, &info) == 0 &&
	    digest_equal(&info.self.digest, &d->digest) &&
	    is_referrer(&info, subject, type))
		append_descriptor(ret, ret_n, &info.self);
}

static int layout_referrers(struct registry *r, const char *repo,
			    const struct digest *subject,
			    const char *artifact_type, struct descriptor **ret,
			    size_t *ret_n, const struct op *op,
			    struct error **errp)
{
	cleanup_layout_index struct layout_index idx = LAYOUT_INDEX_INIT;
	cleanup_map struct map seen = MAP_INIT;
	struct descriptor *found = NULL;
	cleanup_fd int dirfd = -1;
	size_t i, n = 0;
	int rc;

	rc = check_names(repo, NULL, errp);
	if (rc < 0)
		return rc;
	rc = read_folder(layout_of(r), &dirfd, &idx, errp);
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

/* Blobs. */

static int layout_has_blob(struct registry *r, const char *repo,
			   const struct digest *d, uint64_t *ret_size,
			   const struct op *op, struct error **errp)
{
	cleanup_error struct error *err = NULL;
	cleanup_fd int dirfd = -1, fd = -1;
	uint64_t size = 0;
	int rc;

	rc = check_names(repo, NULL, errp);
	if (rc < 0)
		return rc;
	dirfd = layout_open(layout_of(r)->folder, &err);
	if (dirfd >= 0)
		fd = layout_open_blob(dirfd, d, &size, &err);
	rc = dirfd < 0 ? dirfd : fd;
	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return error_propagate(errp, &err, rc);
	if (ret_size)
		*ret_size = size;
	return 1;
}

static int deliver(int fd, uint64_t off, uint64_t len, struct sink *sink,
		   const struct op *op, struct error **errp)
{
	cleanup_free char *buf = xmalloc((size_t)MIN(len, READ_PIECE));

	while (len > 0) {
		size_t n = (size_t)MIN(len, READ_PIECE);
		ssize_t got;
		int r = op_go_on(op, errp);

		if (r < 0)
			return r;
		got = io_pread_full(fd, buf, n, off);
		if (got < 0)
			return error_set_errno(errp, (int)-got, "cannot read");
		if ((size_t)got < n)
			return error_set(errp, EIO, "cut while it was read");
		r = sink->write(sink, buf, n, errp);
		if (r < 0)
			return r;
		op_count_in(op, n);
		off += n;
		len -= n;
	}
	return 0;
}

static int layout_read_blob(struct registry *r, const char *repo,
			    const struct digest *d, uint64_t size, uint64_t off,
			    uint64_t len, struct sink *sink,
			    const struct op *op, struct error **errp)
{
	cleanup_fd int dirfd = -1, fd = -1;
	uint64_t has = 0;
	int rc;

	rc = check_names(repo, NULL, errp);
	if (rc < 0)
		return rc;
	dirfd = layout_open(layout_of(r)->folder, errp);
	if (dirfd < 0)
		return dirfd;
	fd = layout_open_blob(dirfd, d, &has, errp);
	if (fd < 0)
		return fd;
	if (has != size)
		return error_set(errp, EPROTO,
				 "blob '%s' has %llu bytes, not %llu",
				 digest_to_str(d).str, (unsigned long long)has,
				 (unsigned long long)size);
	if (off > size || len > size - off)
		return error_set(errp, EINVAL, "a range beyond blob '%s'",
				 digest_to_str(d).str);
	rc = deliver(fd, off, len, sink, op, errp);
	return error_prefix(errp, rc, "blob '%s'", digest_to_str(d).str);
}

static int open_blobs_dir(int dirfd, struct error **errp)
{
	int fd =
		openat(dirfd, LAYOUT_BLOBS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* Another tool's layout may have no blobs yet. */
	if (fd < 0 && errno == ENOENT) {
		int r = io_mkdirs_beneath(dirfd, LAYOUT_BLOBS, 0777);

		if (r < 0)
			return error_set_errno(errp, -r, "cannot create '%s'",
					       LAYOUT_BLOBS);
		fd = openat(dirfd, LAYOUT_BLOBS,
			    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0)
		return error_set_errno(errp, errno, "cannot open '%s'",
				       LAYOUT_BLOBS);
	return fd;
}

/* A blob that is there but damaged is replaced: its name says what it must
 * be, and the staged bytes are that. */
static int store_blob(int blobsfd, const struct digest *d, struct feed *feed,
		      const struct op *op, struct error **errp)
{
	cleanup_staged struct staged st = STAGED_INIT;
	int r = staged_open(&st, blobsfd, false, errp);

	if (r == 0)
		r = staged_fill(&st, feed, op, errp);
	if (r == 0)
		r = staged_commit(&st, digest_to_hex(d).str, d, true, errp);
	if (r < 0)
		return error_prefix(errp, r, "storing blob '%s'",
				    digest_to_str(d).str);
	return 0;
}

static int layout_put_blob(struct registry *r, const char *repo,
			   const struct digest *d, struct feed *feed,
			   const struct op *op, struct error **errp)
{
	cleanup_fd int dirfd = -1, blobsfd = -1;
	int rc = check_names(repo, NULL, errp);

	if (rc < 0)
		return rc;
	dirfd = layout_prepare(layout_of(r)->folder, errp);
	if (dirfd < 0)
		return dirfd;
	blobsfd = open_blobs_dir(dirfd, errp);
	if (blobsfd < 0)
		return blobsfd;
	return store_blob(blobsfd, d, feed, op, errp);
}

static int layout_mount_blob(struct registry *r, const char *repo,
			     const char *from_repo, const struct digest *d,
			     const struct op *op, struct error **errp)
{
	int rc = check_names(from_repo, NULL, errp);

	return rc < 0 ? rc : layout_has_blob(r, repo, d, NULL, op, errp);
}

/* Manifests, written. */

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
	r = store_blob(blobsfd, &info->self.digest, &feed.feed, op, errp);
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
	blobsfd = open_blobs_dir(dirfd, errp);
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

static int layout_put_manifest(struct registry *r, const char *repo,
			       const char *tag, const char *media_type,
			       const void *buf, size_t len, const struct op *op,
			       struct error **errp)
{
	cleanup_manifest_info struct manifest_info info = {0};
	cleanup_free char *name = NULL;
	int rc = check_names(repo, tag, errp);

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

/* Removing. */

static char *name_of_repo(const struct layout_index *idx, const char *repo,
			  const struct digest *d)
{
	size_t i;

	for (i = 0; i < idx->n; i++) {
		const struct layout_entry *e = &idx->entries[i];
		const char *name = layout_entry_name(e);

		if (e->usable && digest_equal(&e->desc.digest, d) &&
		    tag_in(name, repo))
			return xstrdup(name);
	}
	return NULL;
}

static int remove_manifest(struct layout_index *idx, const char *repo,
			   const struct digest *d, struct error **errp)
{
	if (!layout_index_by_digest(idx, d))
		return error_set_kind(errp, ERROR_NOT_FOUND, ENOENT,
				      "there is no manifest '%s'",
				      digest_to_str(d).str);
	for (;;) {
		cleanup_free char *name = name_of_repo(idx, repo, d);

		if (!name)
			break;
		layout_index_untag(idx, name);
	}
	layout_index_drop_unnamed(idx, d);
	return 0;
}

static int remove_from(struct layout_index *idx, const char *repo,
		       const char *tag, const struct digest *d,
		       struct error **errp)
{
	cleanup_free char *name = NULL;

	if (!tag)
		return remove_manifest(idx, repo, d, errp);
	name = xasprintf("%s:%s", repo, tag);
	if (!layout_index_untag(idx, name))
		return error_set_kind(errp, ERROR_NOT_FOUND, ENOENT,
				      "there is no '%s'", name);
	return 0;
}

static int layout_remove(struct registry *r, const char *repo, const char *tag,
			 const struct digest *d, const struct op *op,
			 struct error **errp)
{
	cleanup_layout_update struct layout_update up = LAYOUT_UPDATE_INIT;
	cleanup_fd int dirfd = -1;
	int rc = check_names(repo, tag, errp);

	if (rc < 0)
		return rc;
	dirfd = layout_open(layout_of(r)->folder, errp);
	if (dirfd < 0)
		return dirfd;
	rc = layout_check(dirfd, errp);
	if (rc == 0)
		rc = layout_update_begin(&up, dirfd, op, errp);
	if (rc == 0)
		rc = remove_from(&up.idx, repo, tag, d, errp);
	if (rc == 0)
		rc = layout_update_commit(&up, errp);
	return error_prefix(errp, rc, "folder '%s'", layout_of(r)->folder);
}

static void layout_free(struct registry *r)
{
	free(layout_of(r)->folder);
	free(r);
}

static const struct registry_ops layout_ops = {
	.ping = layout_ping,
	.resolve = layout_resolve,
	.get_manifest = layout_get_manifest,
	.put_manifest = layout_put_manifest,
	.has_blob = layout_has_blob,
	.read_blob = layout_read_blob,
	.put_blob = layout_put_blob,
	.mount_blob = layout_mount_blob,
	.list_tags = layout_list_tags,
	.referrers = layout_referrers,
	.remove = layout_remove,
	.list_repos = layout_list_repos,
	.free = layout_free,
};

/* The process may change its directory later, as daemons do. */
static char *absolute(const char *path)
{
	cleanup_free char *cwd = path[0] == '/' ? NULL : getcwd(NULL, 0);

	return cwd ? xasprintf("%s/%s", cwd, path) : xstrdup(path);
}

struct registry *registry_layout_new(const char *folder)
{
	struct registry_layout *l = xcalloc(1, sizeof(*l));

	l->registry.ops = &layout_ops;
	l->folder = absolute(folder);
	return &l->registry;
}
