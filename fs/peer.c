#include "fs/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

/* *@ret: -1 where the kernel has none. */
static int handle_of(int socket, int *ret)
{
	socklen_t n = sizeof(*ret);

	if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, ret, &n) == 0)
		return 0;
	*ret = -1;
	/* Once it is reaped there is none to be had. */
	if (errno == ENODATA || errno == EINVAL)
		return -ESRCH;
	return errno == ENOPROTOOPT ? 0 : -errno;
}

/* As long as it lives, nobody else has its number. */
static bool has_ended(int handle)
{
	struct pollfd p = {.fd = handle, .events = POLLIN};

	return handle >= 0 && poll(&p, 1, 0) != 0;
}

int peer_program(int socket, const char *path)
{
	struct ucred peer = {0};
	socklen_t n = sizeof(peer);
	cleanup_fd int handle = -1, fd = -1;
	char link[32], exe[PATH_MAX];
	ssize_t len;
	int r;

	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
		return -errno;
	r = handle_of(socket, &handle);
	if (r < 0)
		return r;
	snprintf(link, sizeof(link), "/proc/%d/exe", (int)peer.pid);
	len = readlink(link, exe, sizeof(exe) - 1);
	if (len < 0)
		return -errno;
	exe[len] = '\0';
	if (strcmp(exe, path) != 0)
		return -EPERM;
	fd = open(link, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return has_ended(handle) ? -ESRCH : steal_fd(&fd);
}
