#include "fs/peer.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "tests/lib/tmpdir.h"

static char *dir, *own;
static int listener;
static struct sockaddr_un place = {.sun_family = AF_UNIX};

static void set_up(void)
{
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe));

	cr_assert(n > 0 && n < (ssize_t)sizeof(exe));
	own = xstrndup(exe, (size_t)n);
	dir = tmpdir_new();
	snprintf(place.sun_path, sizeof(place.sun_path), "%s/s", dir);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(eq(int, bind(listener, (void *)&place, sizeof(place)), 0));
	cr_assert(eq(int, listen(listener, 1), 0));
}

static void clean_up(void)
{
	close(listener);
	tmpdir_remove(dir);
	free(own);
}

TestSuite(peer, .init = set_up, .fini = clean_up);

/* A process that comes to the socket, and stays until it is killed. */
static pid_t client(int *ret_socket)
{
	pid_t pid = fork();

	if (pid == 0) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		if (connect(fd, (void *)&place, sizeof(place)) < 0)
			_exit(1);
		for (;;)
			pause();
	}
	cr_assert(pid > 0);
	*ret_socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	cr_assert(ge(int, *ret_socket, 0));
	return pid;
}

static void end(pid_t pid)
{
	cr_assert(eq(int, kill(pid, SIGKILL), 0));
	cr_assert(waitpid(pid, NULL, 0) == pid);
}

Test(peer, is_told_by_its_program)
{
	struct stat got, want;
	int s = -1, fd;
	pid_t pid = client(&s);

	fd = peer_program(s, own);
	cr_assert(ge(int, fd, 0));
	cr_expect(fstat(fd, &got) == 0 && stat(own, &want) == 0);
	cr_expect(got.st_ino == want.st_ino && got.st_dev == want.st_dev);
	close(fd);
	cr_expect(eq(int, peer_program(s, "/bin/true"), -EPERM));
	end(pid);
	cr_expect(lt(int, peer_program(s, own), 0));
	close(s);
}

/* Of this program, and with that number. */
static void take_number(pid_t number)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uintptr_t)&number,
		.set_tid_size = 1,
	};
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid == 0)
		for (;;)
			pause();
	if (pid < 0)
		cr_skip_test("a process cannot be given a number here: %s",
			     strerror(errno));
	cr_assert(pid == number);
}

static bool kernel_tells(int s)
{
	socklen_t n = sizeof(int);
	int handle;

	/* SO_PEERPIDFD, Linux 6.5 */
	if (getsockopt(s, SOL_SOCKET, 77, &handle, &n) < 0)
		return false;
	close(handle);
	return true;
}

Test(peer, is_not_who_has_its_number_later)
{
	int s = -1;
	pid_t pid = client(&s);
	bool tells = kernel_tells(s);
	int fd;

	end(pid);
	take_number(pid);
	fd = peer_program(s, own);
	if (tells)
		cr_expect(eq(int, fd, -ESRCH));
	else
		cr_expect(ge(int, fd, 0), "it cannot be known");
	end(pid);
	close(s);
}
