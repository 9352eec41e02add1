#include "fs/notifier.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "fs/link.h"

/* Several notifications travel together; each begins with its length. */
#define PACKET_MAX (128u << 10)

struct notification {
	struct fuse_out_header head;
	struct fuse_notify_store_out store;
};

static int notifier = -1;
static unsigned char packet[PACKET_MAX];
static size_t used;

/*
 * Its side.
 */

/* False: there is no mount any more. An inode that the kernel forgot, or does
 * not know yet, is none of its errors. */
static bool deliver(int device, const unsigned char *p, size_t n)
{
	struct fuse_out_header head;

	while (n >= sizeof(head)) {
		memcpy(&head, p, sizeof(head));
		if (head.len < sizeof(head) || head.len > n)
			return false;
		if (write(device, p, head.len) < 0 &&
		    (errno == ENODEV || errno == ENOTCONN || errno == EPERM))
			return false;
		p += head.len;
		n -= head.len;
	}
	return true;
}

/* From here on: read(), write(), and the end. False: this kernel cannot. */
static bool confine(void)
{
	prctl(PR_SET_DUMPABLE, 0);
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0;
}

static void __attribute__((noreturn)) serve(int link)
{
	struct link_message m;
	ssize_t n;

	setsid(); /* what a terminal sends is for the worker */
	prctl(PR_SET_NAME, "mopsfs-notifier");
	dup3(link, 3, O_CLOEXEC);
	close_range(4, ~0u, 0);
	close_range(0, 2, 0);
	if (!link_receive(3, &m) || m.fds[0] < 0 || !confine())
		_exit(0);
	while ((n = read(3, packet, sizeof(packet))) > 0 &&
	       deliver(m.fds[0], packet, (size_t)n))
		;
	syscall(SYS_exit, 0); /* the one that strict seccomp knows */
	__builtin_unreachable();
}

/*
 * The worker's.
 */

int notifier_begin(void)
{
	int pair[2];
	int r = link_make(pair);
	pid_t pid;

	if (r < 0)
		return r;
	pid = fork();
	if (pid == 0)
		serve(pair[1]);
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return -EAGAIN;
	}
	notifier = pair[0];
	return 0;
}

bool notifier_open(int device)
{
	return notifier >= 0 &&
	       link_send(notifier, LINK_DEVICE, NULL, &device, 1) == 0;
}

bool notifier_flush(void)
{
	size_t n = used;

	used = 0;
	return !n || send(notifier, packet, n, MSG_NOSIGNAL) == (ssize_t)n;
}

bool notifier_store(uint64_t ino, const void *buf, size_t len)
{
	struct notification out = {
		.head = {.len = (uint32_t)(sizeof(out) + len),
			 .error = FUSE_NOTIFY_STORE},
		.store = {.nodeid = ino, .size = (uint32_t)len},
	};

	if (out.head.len > sizeof(packet) - used && !notifier_flush())
		return false;
	memcpy(packet + used, &out, sizeof(out));
	memcpy(packet + used + sizeof(out), buf, len);
	used += out.head.len;
	return true;
}

void notifier_end(void)
{
	if (notifier >= 0)
		shutdown(notifier, SHUT_RDWR);
}
