/* What the processes of a mount say to each other: the other end may be taken
 * over. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fs/link.h"

static int pair[2];

static void setup(void)
{
	cr_assert(eq(int, link_make(pair), 0));
}

TestSuite(link, .init = setup);

static unsigned open_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* As link_send(), which sends no more than it should, and no less. */
static void send_raw(char word, size_t len, size_t n_fds)
{
	union {
		char room[CMSG_SPACE(16 * sizeof(int))];
		struct cmsghdr head;
	} rights = {0};
	struct iovec iov = {&word, len};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = rights.room,
			   .msg_controllen = CMSG_SPACE(n_fds * sizeof(int))};
	int fds[16] = {0};

	rights.head.cmsg_level = SOL_SOCKET;
	rights.head.cmsg_type = SCM_RIGHTS;
	rights.head.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
	memcpy(CMSG_DATA(&rights.head), fds, n_fds * sizeof(int));
	cr_assert(eq(i64, sendmsg(pair[1], &m, 0), (long)len));
}

static void send_many(char word, size_t n_fds)
{
	send_raw(word, 1, n_fds);
}

Test(link, words_texts_and_descriptors_arrive)
{
	struct link_message m;
	int fds[] = {0, 1};

	cr_assert(eq(int, link_send(pair[1], LINK_UPGRADE, "text", fds, 2), 0));
	cr_assert(link_receive(pair[0], &m));
	cr_expect(eq(chr, m.word, LINK_UPGRADE));
	cr_expect(eq(str, m.text, "text"));
	cr_expect(ge(int, m.fds[1], 0));
	cr_expect(eq(int, m.fds[2], -1));
	close(pair[1]);
	cr_expect(not(link_receive(pair[0], &m)));
}

Test(link, descriptors_that_nobody_asked_for_are_closed)
{
	struct {
		struct link_message m;
		unsigned char behind[64];
	} got;

	for (size_t n = LINK_FDS; n <= 16; n++) {
		unsigned before = open_descriptors();

		memset(got.behind, 0xa5, sizeof(got.behind));
		send_many('x', n);
		cr_assert(link_receive(pair[0], &got.m));
		for (size_t i = 0; i < sizeof(got.behind); i++)
			cr_assert(eq(u8, got.behind[i], 0xa5), "%zu", n);
		cr_expect(eq(uint, open_descriptors(), before + LINK_FDS));
		for (size_t i = 0; i < LINK_FDS; i++)
			close(got.m.fds[i]);
	}
}

Test(link, descriptors_that_come_without_a_letter_are_closed)
{
	struct link_message m;
	unsigned before = open_descriptors();

	for (size_t n = 1; n <= 16; n++) {
		send_raw('x', 0, n);
		cr_expect(not(link_receive(pair[0], &m)));
		cr_expect(eq(uint, open_descriptors(), before));
		for (size_t i = 0; i < LINK_FDS; i++)
			cr_expect(eq(int, m.fds[i], -1));
	}
}

Test(link, who_does_not_read_is_not_waited_for, .timeout = 20)
{
	struct link_message m;
	int r;

	do
		r = link_send(pair[1], LINK_UNMOUNT, NULL, NULL, 0);
	while (r == 0);
	cr_expect(eq(int, r, -EAGAIN));
	cr_assert(link_receive(pair[0], &m));
	cr_expect(eq(int, link_send(pair[1], LINK_ENDING, NULL, NULL, 0), 0));
}
