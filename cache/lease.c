/*
 * leases/<pid>.<random>: what a running mount needs kept. The holder keeps a
 * shared flock on the file; the kernel drops it when the process ends, so a
 * lease that can be locked exclusively is a dead one.
 *
 *	mopslease1 sha256:<64 hex digits> content|meta\n
 */
#include "cache/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/io.h"
#include "cache/internal.h"

#define LEASE_MAGIC "mopslease1 "

struct lease {
	int fd;
	int dirfd; /* the cache's, which outlives the lease */
	char *name;
};

int lease_parse(const void *buf, size_t n, struct digest *ret_manifest,
		bool *ret_content)
{
	const size_t head = sizeof(LEASE_MAGIC) - 1;
	const char *p = buf;
	const char *rest = p + head + DIGEST_STR_LEN;
	size_t n_rest;

	if (n < head + DIGEST_STR_LEN || memcmp(p, LEASE_MAGIC, head) != 0)
		return -EBADMSG;
	n_rest = n - head - DIGEST_STR_LEN;
	if (n_rest == strlen(" content\n") && !memcmp(rest, " content\n", 9))
		*ret_content = true;
	else if (n_rest == strlen(" meta\n") && !memcmp(rest, " meta\n", 6))
		*ret_content = false;
	else
		return -EBADMSG;
	if (digest_parse(p + head, DIGEST_STR_LEN, ret_manifest, NULL) < 0)
		return -EBADMSG;
	return 0;
}

/* Locked and written before it has its name: nobody ever sees half of it, or
 * takes it for a dead one. */
static int lease_make(struct cache *c, const char *text, const char *name,
		      int *ret_fd)
{
	char tmp[RANDOM_NAME_SIZE];
	cleanup_fd int fd = -1;
	int r;

	random_name(tmp);
	fd = openat(c->room[ROOM_TMP], tmp,
		    O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	/* Without locks a lease is found by its age alone. */
	(void)flock(fd, LOCK_SH | LOCK_NB);
	r = io_write_full(fd, text, strlen(text));
	if (r == 0 &&
	    renameat(c->room[ROOM_TMP], tmp, c->room[ROOM_LEASES], name) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(c->room[ROOM_TMP], tmp, 0);
		return r;
	}
	*ret_fd = steal_fd(&fd);
	return 0;
}

int lease_take(struct cache *c, const struct digest *manifest, bool content,
	       struct lease **ret, struct error **errp)
{
	char salt[RANDOM_NAME_SIZE];
	cleanup_free char *name = NULL;
	cleanup_free char *text =
		xasprintf(LEASE_MAGIC "%s %s\n", digest_to_str(manifest).str,
			  content ? "content" : "meta");
	struct lease *l;
	int fd = -1;
	int r;

	random_name(salt);
	name = xasprintf("%ld.%s", (long)getpid(), salt);
	r = lease_make(c, text, name, &fd);
	if (r < 0)
		return error_set_errno(errp, -r, "cannot take a lease on '%s'",
				       digest_to_hex(manifest).str);
	l = xcalloc(1, sizeof(*l));
	l->fd = fd;
	l->dirfd = c->room[ROOM_LEASES];
	l->name = steal_ptr(&name);
	*ret = l;
	return 0;
}

int lease_fd(const struct lease *l)
{
	return l->fd;
}

void lease_release(struct lease *l)
{
	unlinkat(l->dirfd, l->name, 0);
	close(l->fd);
	free(l->name);
	free(l);
}
