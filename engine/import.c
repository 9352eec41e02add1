#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/io.h"
#include "engine/archive.h"
#include "engine/archive_io.h"
#include "engine/layout_unpack.h"
#include "engine/tar.h"

#define POINTERS ".mops/ptr/"

/* A symlink waits until every file is there: none is ever followed. */
struct late_link {
	char *path, *target;
};

struct importer {
	int dirfd;
	struct tar_reader *tar;
	struct import_result *out;
	struct late_link *links;
	size_t n_links, cap_links;
};

static bool is_pointer(const char *path)
{
	return !strncmp(path, POINTERS, strlen(POINTERS));
}

static int copy_content(struct importer *im, int fd, const char *path,
			struct error **errp)
{
	cleanup_free char *buf = xmalloc(CHUNK_SIZE);
	ssize_t n;

	while ((n = tar_reader_read(im->tar, buf, CHUNK_SIZE, errp)) > 0) {
		int r = io_write_full(fd, buf, (size_t)n);

		if (r < 0)
			return error_set_errno(errp, -r, "writing '%s'", path);
	}
	return (int)n;
}

static int import_file(struct importer *im, const struct tar_entry *e,
		       struct error **errp)
{
	mode_t mode = e->executable ? 0755 : 0644;
	cleanup_fd int fd =
		io_open_beneath(im->dirfd, e->path,
				O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
	int r;

	if (fd < 0)
		return error_set_errno(errp, -fd, "creating '%s'", e->path);
	r = copy_content(im, fd, e->path, errp);
	if (r < 0)
		return r;
	if (fchmod(fd, mode) < 0)
		return error_set_errno(errp, errno, "mode of '%s'", e->path);
	if (is_pointer(e->path)) {
		im->out->pointers++;
		return 0;
	}
	im->out->files++;
	im->out->bytes += e->size;
	return 0;
}

static int import_entry(struct importer *im, const struct tar_entry *e,
			struct error **errp)
{
	int r;

	switch (e->kind) {
	case TAR_DIR:
		r = io_mkdirs_beneath(im->dirfd, e->path, 0755);
		return r < 0 ? error_set_errno(errp, -r, "creating '%s'",
					       e->path)
			     : 0;
	case TAR_FILE:
		return import_file(im, e, errp);
	case TAR_SYMLINK:
		ARRAY_GROW(im->links, im->n_links, im->cap_links);
		im->links[im->n_links++] = (struct late_link){
			xstrdup(e->path), xstrdup(e->target)};
		return 0;
	}
	return error_set(errp, EINVAL, "'%s' is of no known kind", e->path);
}

static int make_link(struct importer *im, const struct late_link *l,
		     struct error **errp)
{
	cleanup_free char *dir = xstrdup(l->path);
	char *slash = strrchr(dir, '/');
	const char *name = slash ? slash + 1 : dir;
	cleanup_fd int fd = -1;

	if (slash)
		*slash = '\0';
	fd = io_open_beneath(im->dirfd, slash ? dir : ".",
			     O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return error_set_errno(errp, -fd, "opening '%s'", dir);
	if (symlinkat(l->target, fd, name) < 0)
		return error_set_errno(errp, errno, "linking '%s'", l->path);
	return 0;
}

static int import_entries(struct importer *im, const struct op *op,
			  struct error **errp)
{
	struct tar_entry e;
	int r;

	while ((r = tar_reader_next(im->tar, &e, errp)) > 0) {
		r = op_go_on(op, errp);
		if (r < 0)
			return r;
		r = import_entry(im, &e, errp);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; r == 0 && i < im->n_links; i++)
		r = make_link(im, &im->links[i], errp);
	if (r == 0 && syncfs(im->dirfd) < 0)
		r = error_set_errno(errp, errno, "flushing");
	return r;
}

static int unpack(const char *file, int dirfd, struct import_result *out,
		  const struct op *op, struct error **errp)
{
	struct importer im = {.dirfd = dirfd, .out = out};
	struct archive_in *in;
	int r = archive_in_open(file, &in, errp);

	if (r < 0)
		return r;
	im.tar = tar_reader_new(archive_in_read, in);
	r = import_entries(&im, op, errp);
	tar_reader_free(im.tar);
	archive_in_free(in);
	for (size_t i = 0; i < im.n_links; i++) {
		free(im.links[i].path);
		free(im.links[i].target);
	}
	free(im.links);
	return r;
}

/* "imp/" is "imp": what is made beside it is not to be made inside. */
static char *without_slashes(const char *dest)
{
	size_t n = strlen(dest);

	while (n > 1 && dest[n - 1] == '/')
		n--;
	return xstrndup(dest, n);
}

static bool holds_layout(int dirfd)
{
	return faccessat(dirfd, "oci-layout", F_OK, AT_SYMLINK_NOFOLLOW) == 0 &&
	       faccessat(dirfd, "index.json", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int empty_again(const char *dir, int *fd, struct error **errp)
{
	closep(fd);
	io_remove_tree(AT_FDCWD, dir);
	if (mkdir(dir, 0700) < 0)
		return error_set_errno(errp, errno, "creating '%s'", dir);
	*fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *fd < 0 ? error_set_errno(errp, errno, "opening '%s'", dir) : 0;
}

/*
 * A layout is known by its names alone, and a bundle's files may be called so,
 * too: what is no good layout may still be good files. It is said of the one
 * that it seemed to be why it was neither.
 */
static int unpack_either(const char *file, const char *dir, int *fd,
			 struct import_result *out, const struct op *op,
			 struct error **errp)
{
	cleanup_error struct error *no_layout = NULL;
	struct error *err = NULL;
	bool sure;
	struct stat st;
	int no, r;

	/* What is gone when it is read can be taken for one of them only. */
	if (stat(file, &st) == 0 && !S_ISREG(st.st_mode))
		return unpack(file, *fd, out, op, errp);
	no = layout_unpack(file, *fd, out, &sure, op, &no_layout);
	if (no != -EINVAL && no != -EBADMSG)
		return error_propagate(errp, &no_layout, no);
	r = empty_again(dir, fd, &err);
	if (r == 0)
		r = unpack(file, *fd, out, op, &err);
	if (r == 0 && !holds_layout(*fd))
		return 0;
	if (r < 0 && (!sure || (r != -EINVAL && r != -EBADMSG)))
		return error_propagate(errp, &err, r);
	error_free(err);
	return error_propagate(errp, &no_layout, no);
}

/* An empty folder beside @dest, renamed to @dest when all is there: renaming
 * replaces an empty directory and nothing else. */
int import_archive(const char *file, const char *dest,
		   struct import_result *ret, const struct op *op,
		   struct error **errp)
{
	cleanup_free char *to = without_slashes(dest);
	cleanup_free char *temp = xasprintf("%s.XXXXXX", to);
	struct import_result out = {0};
	cleanup_fd int fd = -1;
	int r;

	if (!mkdtemp(temp))
		return error_set_errno(errp, errno, "creating '%s'", temp);
	fd = open(temp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = fd < 0 ? error_set_errno(errp, errno, "opening '%s'", temp)
		   : unpack_either(file, temp, &fd, &out, op, errp);
	if (r == 0 && fchmod(fd, 0755) < 0)
		r = error_set_errno(errp, errno, "mode of '%s'", temp);
	if (r == 0 && rename(temp, to) < 0)
		r = errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR
			    ? error_set_kind(errp, ERROR_CONFLICT, EEXIST,
					     "'%s' is not an empty folder",
					     dest)
			    : error_set_errno(errp, errno, "renaming to '%s'",
					      dest);
	if (r < 0) {
		io_remove_tree(AT_FDCWD, temp);
		return error_prefix(errp, r, "importing '%s'", file);
	}
	*ret = out;
	return 0;
}
