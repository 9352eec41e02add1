#include "cache/ability.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fsverity.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/io.h"
#include "cache/internal.h"

#define BYTES 4096 /* of a trial: a block, which can be shared */

/* A file of this instant; should we be killed, gc knows what tmp/ is. */
struct trial {
	int dirfd, fd;
	char name[RANDOM_NAME_SIZE];
};

static int trial_open(struct cache *c, struct trial *t)
{
	t->dirfd = c->room[ROOM_TMP];
	random_name(t->name);
	t->fd = openat(t->dirfd, t->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
		       0600);
	return t->fd < 0 ? -errno : 0;
}

static void trial_close(struct trial *t)
{
	if (t->fd >= 0)
		unlinkat(t->dirfd, t->name, 0);
	closep(&t->fd);
}
#define cleanup_trial __attribute__((cleanup(trial_close)))

static int write_block(const struct trial *t)
{
	static const char zeros[BYTES];
	int r = io_pwrite_full(t->fd, zeros, sizeof(zeros), 0);

	/* Some file systems find no room before that. */
	if (r >= 0 && fsync(t->fd) < 0)
		r = -errno;
	return r < 0 ? r : 0;
}

static bool can_link(struct cache *c, const struct trial *t)
{
	char other[RANDOM_NAME_SIZE];

	random_name(other);
	if (linkat(t->dirfd, t->name, t->dirfd, other, 0) < 0)
		return false;
	unlinkat(t->dirfd, other, 0);
	return true;
}

static bool can_clone(struct cache *c, const struct trial *t)
{
	cleanup_trial struct trial other = {.fd = -1};

	return trial_open(c, &other) == 0 && io_reflink(t->fd, other.fd) == 0;
}

/* Asked of a file without: a file system that has it says that there is none
 * yet, others do not know the question. */
static bool has_verity(const struct trial *t)
{
	union {
		struct fsverity_digest head;
		unsigned char room[sizeof(struct fsverity_digest) + 64];
	} d = {.head.digest_size = 64};

	return ioctl(t->fd, FS_IOC_MEASURE_VERITY, &d.head) == 0 ||
	       errno == ENODATA;
}

static int look_at_space(struct cache *c, struct cache_abilities *ret)
{
	struct statvfs st;

	if (fstatvfs(c->dirfd, &st) < 0)
		return -errno;
	ret->free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
	ret->counts_files = st.f_files > 0;
	ret->free_files = st.f_favail;
	if (st.f_flag & ST_RDONLY)
		ret->writes = -EROFS;
	return 0;
}

int cache_probe(struct cache *c, struct cache_abilities *ret,
		struct error **errp)
{
	cleanup_trial struct trial t = {.fd = -1};
	int r;

	*ret = (struct cache_abilities){.locks = c->locks_trusted};
	r = look_at_space(c, ret);
	if (r < 0)
		return error_set_errno(errp, -r, "'%s'", c->path);
	if (ret->writes == 0)
		ret->writes = trial_open(c, &t);
	if (ret->writes == 0)
		ret->writes = write_block(&t);
	if (ret->writes < 0)
		return 0;
	ret->hardlinks = can_link(c, &t);
	ret->reflinks = can_clone(c, &t);
	ret->verity = has_verity(&t);
	return 0;
}
