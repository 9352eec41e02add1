#include "fs/link.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"

#define UNMOUNT_MS 5000

int link_make(int ret[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret) < 0
		       ? -errno
		       : 0;
}

union rights {
	struct cmsghdr head;
	char room[CMSG_SPACE(LINK_FDS * sizeof(int))];
};

int link_send(int fd, enum link_word word, const char *text, const int *fds,
	      size_t n_fds)
{
	char c = (char)word;
	struct iovec iov[] = {{&c, 1},
			      {(void *)text,
			       text ? strnlen(text, LINK_TEXT - 1) : 0}};
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = ARRAY_SIZE(iov)};
	union rights rights = {0};

	if (n_fds) {
		m.msg_control = rights.room;
		m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		rights.head.cmsg_level = SOL_SOCKET;
		rights.head.cmsg_type = SCM_RIGHTS;
		rights.head.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(&rights.head), fds, n_fds * sizeof(int));
	}
	return sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* The kernel gives as many as there is room for, and room is rounded up. */
static void take_fds(const struct cmsghdr *h, int *ret)
{
	size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

	for (size_t i = 0; i < n; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(h) + i * sizeof(fd), sizeof(fd));
		if (i < LINK_FDS)
			ret[i] = fd;
		else
			close(fd);
	}
}

bool link_receive(int fd, struct link_message *ret)
{
	union rights rights;
	struct iovec iov[] = {{&ret->word, 1}, {ret->text, LINK_TEXT - 1}};
	struct msghdr m = {.msg_iov = iov,
			   .msg_iovlen = ARRAY_SIZE(iov),
			   .msg_control = rights.room,
			   .msg_controllen = sizeof(rights.room)};
	ssize_t n;

	do
		n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	for (size_t i = 0; i < LINK_FDS; i++)
		ret->fds[i] = -1;
	ret->text[n > 0 ? n - 1 : 0] = '\0';
	if (n < 0)
		return false;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h))
		if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS)
			take_fds(h, ret->fds);
	/* One without a letter looks like the end, but may bring some. */
	for (size_t i = 0; n == 0 && i < LINK_FDS; i++)
		closep(&ret->fds[i]);
	return n > 0;
}

int link_ask_unmount(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct link_message m;
	int r = link_send(fd, LINK_UNMOUNT, NULL, NULL, 0);

	if (r < 0)
		return r;
	if (poll(&p, 1, UNMOUNT_MS) <= 0)
		return -ETIMEDOUT;
	if (!link_receive(fd, &m))
		return -EPIPE;
	return m.word == LINK_DONE ? 0 : m.word == LINK_DETACHED ? 1 : -EIO;
}

void link_tell_unmounted(int fd, int r)
{
	link_send(fd,
		  r < 0    ? LINK_REFUSED
		  : r == 0 ? LINK_DONE
			   : LINK_DETACHED,
		  NULL, NULL, 0);
}
