#include "engine/tree_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/random.h"

/* A file that leaves nothing behind, and that nobody finds by a name. */
static int nameless(struct cache *c)
{
	char name[64];
	int fd = openat(cache_dirfd(c), "tmp", O_TMPFILE | O_RDWR | O_CLOEXEC,
			0600);

	if (fd >= 0)
		return fd;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL &&
	    errno != ENOENT)
		return -errno;
	snprintf(name, sizeof(name), "tmp/tree-%016" PRIx64,
		 random_below(UINT64_MAX));
	fd = openat(cache_dirfd(c), name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return -errno;
	unlinkat(cache_dirfd(c), name, 0);
	return fd;
}

int tree_copy_begin(struct cache *c, uint64_t size, struct tree_copy *ret,
		    struct error **errp)
{
	int fd;

	if (size <= TREE_MEMORY_MAX)
		fd = memfd_create("tree", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	else
		fd = nameless(c);
	if (fd < 0)
		return error_set_errno(errp, fd == -1 ? errno : -fd,
				       "a copy of %" PRIu64 " bytes", size);
	*ret = (struct tree_copy){
		.fd = fd,
		.size = size,
		.hasher = hasher_new(),
	};
	return 0;
}

int tree_copy_add(struct tree_copy *tc, const void *buf, size_t n,
		  struct error **errp)
{
	int r = io_pwrite_full(tc->fd, buf, n, tc->done);

	if (r < 0)
		return error_set_errno(errp, -r, "copying it");
	hasher_update(tc->hasher, buf, n);
	tc->done += n;
	return 0;
}

static int seal(const struct tree_copy *tc)
{
	if (tc->size > TREE_MEMORY_MAX)
		return 0; /* not memory */
	return fcntl(tc->fd, F_ADD_SEALS,
		     F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) <
			       0
		       ? -errno
		       : 0;
}

int tree_copy_finish(struct tree_copy *tc, const struct digest *d, int *ret_fd,
		     struct error **errp)
{
	struct digest got = hasher_final(tc->hasher);
	int r;

	if (tc->done != tc->size || !digest_equal(&got, d))
		return error_set(errp, EBADMSG,
				 "its bytes are not those of '%s'",
				 digest_to_str(d).str);
	r = seal(tc);
	if (r < 0)
		return error_set_errno(errp, -r, "sealing a copy");
	*ret_fd = steal_fd(&tc->fd);
	return 0;
}

void tree_copy_release(struct tree_copy *tc)
{
	closep(&tc->fd);
	hasher_freep(&tc->hasher);
}

static int add_file(struct tree_copy *tc, int fd, struct error **errp)
{
	cleanup_free char *buf = xmalloc(CHUNK_SIZE);

	while (tc->done < tc->size) {
		size_t n = MIN(tc->size - tc->done, (uint64_t)CHUNK_SIZE);
		ssize_t got = io_pread_full(fd, buf, n, tc->done);
		int r;

		if (got < 0)
			return error_set_errno(errp, (int)-got, "reading it");
		if (got == 0)
			return error_set(errp, EBADMSG, "it is too short");
		r = tree_copy_add(tc, buf, (size_t)got, errp);
		if (r < 0)
			return r;
	}
	return 0;
}

int tree_copy_file(struct cache *c, int fd, const struct digest *d,
		   uint64_t size, int *ret_fd, struct error **errp)
{
	cleanup_tree_copy struct tree_copy tc = TREE_COPY_INIT;
	int r = tree_copy_begin(c, size, &tc, errp);

	if (r >= 0)
		r = add_file(&tc, fd, errp);
	return r < 0 ? r : tree_copy_finish(&tc, d, ret_fd, errp);
}
