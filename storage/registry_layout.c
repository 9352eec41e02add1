#include "storage/registry_layout_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/map.h"

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

int layout_look(struct registry *r, const char *repo, const char *tag,
		int *ret_dirfd, struct layout_index *ret, struct error **errp)
{
	int rc = registry_check_names(repo, tag, errp);

	return rc < 0 ? rc : read_folder(layout_of(r), ret_dirfd, ret, errp);
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

	rc = layout_look(r, repo, tag, &dirfd, &idx, errp);
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

	rc = layout_look(r, repo, NULL, &dirfd, &idx, errp);
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
	int rc = registry_check_names(repo, tag, errp);

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
