#include "storage/registry_layout_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/io.h"
#include "storage/staged.h"

#define READ_PIECE ((size_t)256 << 10)

int layout_has_blob(struct registry *r, const char *repo,
		    const struct digest *d, uint64_t *ret_size,
		    const struct op *op, struct error **errp)
{
	cleanup_error struct error *err = NULL;
	cleanup_fd int dirfd = -1, fd = -1;
	uint64_t size = 0;
	int rc;

	rc = registry_check_names(repo, NULL, errp);
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

int layout_read_blob(struct registry *r, const char *repo,
		     const struct digest *d, uint64_t size, uint64_t off,
		     uint64_t len, struct sink *sink, const struct op *op,
		     struct error **errp)
{
	cleanup_fd int dirfd = -1, fd = -1;
	uint64_t has = 0;
	int rc;

	rc = registry_check_names(repo, NULL, errp);
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

int layout_open_blobs_dir(int dirfd, struct error **errp)
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

int layout_store_blob(int blobsfd, const struct digest *d, struct feed *feed,
		      const struct op *op, struct error **errp)
{
	cleanup_staged struct staged st = STAGED_INIT;
	int r = staged_open(&st, blobsfd, false, errp);

	if (r == 0)
		r = staged_fill(&st, feed, op, errp);
	if (r == 0)
		r = staged_link(&st, digest_to_hex(d).str, d, true, errp);
	if (r < 0)
		return error_prefix(errp, r, "storing blob '%s'",
				    digest_to_str(d).str);
	return 0;
}

int layout_put_blob(struct registry *r, const char *repo,
		    const struct digest *d, struct feed *feed,
		    const struct op *op, struct error **errp)
{
	cleanup_fd int dirfd = -1, blobsfd = -1;
	int rc = registry_check_names(repo, NULL, errp);

	if (rc < 0)
		return rc;
	dirfd = layout_prepare(layout_of(r)->folder, errp);
	if (dirfd < 0)
		return dirfd;
	blobsfd = layout_open_blobs_dir(dirfd, errp);
	if (blobsfd < 0)
		return blobsfd;
	return layout_store_blob(blobsfd, d, feed, op, errp);
}

int layout_mount_blob(struct registry *r, const char *repo,
		      const char *from_repo, const struct digest *d,
		      const struct op *op, struct error **errp)
{
	int rc = registry_check_names(from_repo, NULL, errp);

	return rc < 0 ? rc : layout_has_blob(r, repo, d, NULL, op, errp);
}
