#include "cache/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static bool still_names(int dirfd, const char *name, int fd)
{
	struct stat by_fd, by_name;

	return fstat(fd, &by_fd) == 0 &&
	       fstatat(dirfd, name, &by_name, AT_SYMLINK_NOFOLLOW) == 0 &&
	       by_fd.st_ino == by_name.st_ino && by_fd.st_dev == by_name.st_dev;
}

void quarantine(struct cache *c, enum cache_room room, const char *name, int fd)
{
	const char *base = strrchr(name, '/');
	char salt[RANDOM_NAME_SIZE];
	cleanup_free char *to = NULL;
	int dirfd = c->room[room];

	/* Someone healed it in the meantime. */
	if (fd >= 0 && !still_names(dirfd, name, fd))
		return;
	random_name(salt);
	to = xasprintf("%s.%s", base ? base + 1 : name, salt);
	log_debug("cache: '%s' is damaged, moved to 'quarantine/%s'", name, to);
	if (renameat(dirfd, name, c->room[ROOM_QUARANTINE], to) == 0)
		return;
	/* Damage must not keep its name, even when there is no room for it. */
	if (errno != ENOENT && unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
		log_debug("cache: cannot remove damaged '%s': %s", name,
			  strerror(errno));
}
