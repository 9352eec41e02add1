#include "cache/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "cache/internal.h"

struct draft {
	struct cache *c;
	int fd;
	char *name;    /* in tmp/; NULL: the file has no name yet */
	uint64_t size; /* announced; 0: unknown */
	uint64_t written;
};

/* A nameless file leaves nothing behind when the process is killed. */
static int draft_open(struct draft *s)
{
	int tmp = s->c->room[ROOM_TMP];

	s->fd = openat(tmp, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (s->fd >= 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL &&
	    errno != ENOENT)
		return -errno;
	s->name = xmalloc(RANDOM_NAME_SIZE);
	random_name(s->name);
	s->fd = openat(tmp, s->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
		       0600);
	return s->fd < 0 ? -errno : 0;
}

int draft_new(struct cache *c, uint64_t size, struct draft **ret,
	      struct error **errp)
{
	cleanup_draft struct draft *s = xcalloc(1, sizeof(*s));
	int r;

	s->c = c;
	s->fd = -1;
	s->size = size;
	r = draft_open(s);
	if (r == 0) /* a full disk shows now, not after the download */
		r = reserve_space(s->fd, size);
	if (r < 0)
		return no_room(errp, r, c->path);
	*ret = steal_ptr(&s);
	return 0;
}

int draft_fd(const struct draft *s)
{
	return s->fd;
}

const char *draft_name(const struct draft *s)
{
	return s->name;
}

int draft_write(struct draft *s, const void *buf, size_t n, struct error **errp)
{
	int r;

	if (s->size && n > s->size - s->written)
		return error_set(errp, EBADMSG,
				 "more than the announced %llu bytes arrived",
				 (unsigned long long)s->size);
	r = io_pwrite_full(s->fd, buf, n, s->written);
	if (r < 0)
		return error_set_errno(errp, -r, "cannot write to '%s'",
				       s->c->path);
	s->written += n;
	return 0;
}

int draft_publish(struct draft *s, const struct digest *d, struct error **errp)
{
	int r = blob_flush(s->fd);

	if (r < 0)
		return error_set_errno(errp, -r, "cannot flush blob '%s'",
				       digest_to_hex(d).str);
	return blob_publish(s->c, s->fd, ROOM_TMP, s->name, d, errp);
}

void draft_discard(struct draft *s)
{
	if (s->name)
		unlinkat(s->c->room[ROOM_TMP], s->name, 0);
	closep(&s->fd);
	free(s->name);
	free(s);
}
