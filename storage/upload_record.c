#include "storage/upload_record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/time.h"

#define RECORD_MAX (16u << 10)
#define KEPT_S     (7 * 86400)

int upload_record_parse(const char *text, size_t n, struct http_url *ret)
{
	cleanup_free char *url = NULL;

	/* A line that was not written to its end counts for nothing. */
	if (n < 2 || n > RECORD_MAX || text[n - 1] != '\n' ||
	    memchr(text, '\0', n))
		return -EINVAL;
	url = xstrndup(text, n - 1);
	return http_url_parse(url, ret, NULL);
}

static void remove_old(const char *folder)
{
	cleanup_dir DIR *dir = opendir(folder);
	struct dirent *de;
	struct stat st;

	while (dir && (de = readdir(dir)))
		if (fstatat(dirfd(dir), de->d_name, &st, AT_SYMLINK_NOFOLLOW) ==
			    0 &&
		    S_ISREG(st.st_mode) && st.st_mtime < time_wall_s() - KEPT_S)
			unlinkat(dirfd(dir), de->d_name, 0);
}

/* The file locked by us, and still under its name. */
static int open_locked(const char *path)
{
	cleanup_fd int fd =
		open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat ours, named;

	if (fd < 0 || ofd_try_lock(fd, LOCK_EXCLUSIVE, 0, 1) < 0 ||
	    fstat(fd, &ours) < 0 || lstat(path, &named) < 0 ||
	    ours.st_ino != named.st_ino || ours.st_uid != geteuid())
		return -1;
	return steal_fd(&fd);
}

void upload_record_open(const char *folder, const char *key,
			struct upload_record *ret, struct http_url *ret_at)
{
	struct digest d = digest_of_str(key);
	char text[RECORD_MAX];
	ssize_t n;

	*ret = (struct upload_record)UPLOAD_RECORD_INIT;
	if (!folder || io_mkdirs(folder, 0700) < 0)
		return;
	remove_old(folder);
	ret->path = xasprintf("%s/%s", folder, digest_to_hex(&d).str);
	ret->fd = open_locked(ret->path);
	if (ret->fd < 0)
		return;
	n = io_pread_full(ret->fd, text, sizeof(text), 0);
	if (n > 0)
		upload_record_parse(text, (size_t)n, ret_at);
}

void upload_record_set(struct upload_record *r, const struct http_url *at)
{
	cleanup_free char *url = NULL;
	cleanup_free char *line = NULL;

	if (r->fd < 0)
		return;
	url = http_url_str(at);
	line = xasprintf("%s\n", url);
	if (ftruncate(r->fd, 0) < 0 ||
	    io_pwrite_full(r->fd, line, strlen(line), 0) < 0)
		upload_record_remove(r);
}

void upload_record_remove(struct upload_record *r)
{
	if (r->fd >= 0)
		unlink(r->path);
	closep(&r->fd);
}

void upload_record_release(struct upload_record *r)
{
	closep(&r->fd);
	free(r->path);
	*r = (struct upload_record)UPLOAD_RECORD_INIT;
}
