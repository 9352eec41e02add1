#include "storage/layout_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/strbuf.h"

#define VERSION_MAX 4096
#define INDEX_FILE  "index.json"
#define LOCK_FILE   "index.json.lock"
#define LOCK_SLICE  100 /* ms between looks at the operation's end */

int layout_open(const char *folder, struct error **errp)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return error_set_errno(errp, errno, "cannot open folder '%s'",
				       folder);
	return fd;
}

/* What stands in a folder while another process creates its layout. */
static bool may_be_ours(const char *name)
{
	return name[0] == '.' || strcmp(name, "blobs") == 0 ||
	       strncmp(name, LAYOUT_VERSION_FILE,
		       strlen(LAYOUT_VERSION_FILE)) == 0 ||
	       strncmp(name, INDEX_FILE, strlen(INDEX_FILE)) == 0;
}

static int check_unmarked(int dirfd, struct error **errp)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *dir = NULL;
	struct dirent *e;

	if (fd < 0)
		return error_set_errno(errp, errno, "cannot list the folder");
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return error_set_errno(errp, ENOMEM, "cannot list the folder");
	}
	while ((e = readdir(dir)))
		if (!may_be_ours(e->d_name))
			return error_set_kind(errp, ERROR_VALIDATION, EPROTO,
					      "the folder is not empty and "
					      "not an OCI image layout");
	return 0;
}

static int check_version(const char *buf, size_t len, struct error **errp)
{
	cleanup_json struct json *doc = NULL;
	cleanup_error struct error *err = NULL;
	const char *version;

	if (json_parse(buf, len, &JSON_LIMITS_DOC, &doc, &err) < 0)
		return error_set_kind(errp, ERROR_VALIDATION, EPROTO,
				      "'" LAYOUT_VERSION_FILE "': %s",
				      err->message);
	version = json_str(json_get(doc, "imageLayoutVersion"));
	if (!version)
		return error_set_kind(errp, ERROR_VALIDATION, EPROTO,
				      "'" LAYOUT_VERSION_FILE
				      "' names no version");
	if (strcmp(version, "1.0.0") != 0)
		return error_set_kind(errp, ERROR_MEDIA_TYPE, EPROTO,
				      "an image layout of version '%s'",
				      version);
	return 0;
}

int layout_check(int dirfd, struct error **errp)
{
	cleanup_free char *buf = NULL;
	size_t len = 0;
	int r;

	r = io_read_file(dirfd, LAYOUT_VERSION_FILE, VERSION_MAX, &buf, &len);
	if (r == -ENOENT)
		return check_unmarked(dirfd, errp);
	if (r < 0)
		return error_set_errno(errp, -r,
				       "cannot read '" LAYOUT_VERSION_FILE "'");
	return check_version(buf, len, errp);
}

/* Flush the directory @path below @dirfd. */
static int flush_dir(int dirfd, const char *path, struct error **errp)
{
	cleanup_fd int fd =
		openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 ? -errno : io_fsync_dir(fd);

	if (r < 0)
		return error_set_errno(errp, -r, "cannot flush folder '%s'",
				       path);
	return 0;
}

/* The version file comes last: it says that the rest is there. */
static int create(int dirfd, struct error **errp)
{
	int r = layout_check(dirfd, errp);

	if (r < 0)
		return r;
	r = io_mkdirs_beneath(dirfd, LAYOUT_BLOBS, 0777);
	if (r < 0)
		return error_set_errno(errp, -r, "cannot create '%s'",
				       LAYOUT_BLOBS);
	r = flush_dir(dirfd, "blobs", errp);
	if (r < 0)
		return r;
	r = io_write_file_atomic(dirfd, LAYOUT_VERSION_FILE,
				 LAYOUT_VERSION_TEXT,
				 strlen(LAYOUT_VERSION_TEXT), 0644);
	if (r < 0)
		return error_set_errno(
			errp, -r, "cannot write '" LAYOUT_VERSION_FILE "'");
	return flush_dir(dirfd, "..", errp);
}

int layout_prepare(const char *folder, struct error **errp)
{
	cleanup_fd int fd = -1;
	int r = io_mkdirs(folder, 0777);

	if (r < 0)
		return error_set_errno(errp, -r, "cannot create folder '%s'",
				       folder);
	fd = layout_open(folder, errp);
	if (fd < 0)
		return fd;
	if (faccessat(fd, LAYOUT_VERSION_FILE, F_OK, 0) < 0) {
		r = create(fd, errp);
		if (r < 0)
			return error_prefix(errp, r, "folder '%s'", folder);
	}
	return steal_fd(&fd);
}

int layout_read_index(int dirfd, struct layout_index *ret, struct error **errp)
{
	cleanup_error struct error *err = NULL;
	cleanup_free char *buf = NULL;
	size_t len = 0;
	int r;

	r = layout_check(dirfd, errp);
	if (r < 0)
		return r;
	r = io_read_file(dirfd, INDEX_FILE, JSON_LIMITS_BIG.max_bytes, &buf,
			 &len);
	if (r == -ENOENT) {
		memset(ret, 0, sizeof(*ret));
		return 0;
	}
	if (r < 0)
		return error_set_errno(errp, -r,
				       "cannot read '" INDEX_FILE "'");
	if (layout_index_parse(buf, len, ret, &err) < 0)
		return error_set_kind(errp, ERROR_VALIDATION, EPROTO,
				      "'" INDEX_FILE "': %s", err->message);
	return 0;
}

int layout_open_blob(int dirfd, const struct digest *d, uint64_t *ret_size,
		     struct error **errp)
{
	cleanup_free char *path =
		xasprintf(LAYOUT_BLOBS "/%s", digest_to_hex(d).str);
	/* A fifo must not hang us; what is read through a symlink is hashed
	 * like everything else. */
	cleanup_fd int fd =
		openat(dirfd, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return error_set_errno(errp, errno, "blob '%s'",
				       digest_to_str(d).str);
	if (fstat(fd, &st) < 0)
		return error_set_errno(errp, errno, "blob '%s'",
				       digest_to_str(d).str);
	if (!S_ISREG(st.st_mode))
		return error_set(errp, EPROTO, "blob '%s' is no regular file",
				 digest_to_str(d).str);
	*ret_size = (uint64_t)st.st_size;
	return steal_fd(&fd);
}

/* Each update opens the lock file anew: these locks belong to an open file,
 * so threads of one process exclude each other as well. */
static int lock_index(int fd, const struct op *op, struct error **errp)
{
	int r = -ETIMEDOUT;

	while (r == -ETIMEDOUT) {
		int64_t until = time_deadline_ms(LOCK_SLICE);

		r = op_go_on(op, errp);
		if (r < 0)
			return error_prefix(errp, r,
					    "waiting for the lock "
					    "of '" INDEX_FILE "'");
		r = ofd_lock_until(fd, LOCK_EXCLUSIVE, 0, 1,
				   MIN(until, op_deadline(op)));
	}
	if (r < 0)
		return error_set_errno(errp, -r,
				       "cannot lock '" INDEX_FILE "'");
	return 0;
}

int layout_update_begin(struct layout_update *u, int dirfd, const struct op *op,
			struct error **errp)
{
	int r;

	u->dirfd = dirfd;
	u->lockfd = openat(dirfd, LOCK_FILE,
			   O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
	if (u->lockfd < 0)
		return error_set_errno(errp, errno,
				       "cannot open '" LOCK_FILE "'");
	r = lock_index(u->lockfd, op, errp);
	if (r < 0)
		return r;
	return layout_read_index(dirfd, &u->idx, errp);
}

int layout_update_commit(struct layout_update *u, struct error **errp)
{
	cleanup_strbuf struct strbuf out = STRBUF_INIT;
	struct stat st;
	int r;

	if (!u->idx.changed)
		return 0;
	r = layout_index_write(&u->idx, &out, errp);
	if (r < 0)
		return r;
	/* The lock file was made with the user's umask, at any time before. */
	if (fstat(u->lockfd, &st) < 0)
		return error_set_errno(errp, errno, "'" LOCK_FILE "'");
	r = io_write_file_atomic(u->dirfd, INDEX_FILE, out.buf, out.len,
				 st.st_mode & 0666);
	if (r < 0)
		return error_set_errno(errp, -r,
				       "cannot write '" INDEX_FILE "'");
	return 0;
}

void layout_update_release(struct layout_update *u)
{
	layout_index_release(&u->idx);
	closep(&u->lockfd);
}
