#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/log.h"
#include "fs/job.h"
#include "fs/mountinfo.h"
#include "fs/unmount.h"

/* What the helper answers to a request to unmount. */
enum { ANSWER_DONE = 'd', ANSWER_DETACHED = 'l', ANSWER_FAILED = 'f' };

/* The signals that the helper and the worker wait for; everything else that
 * ends a process ends these too. */
static void watched_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGCHLD);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
}

struct helper {
	struct mount_job *job;
	pid_t worker;
	int link;    /* to the worker; -1 when it closed its end */
	int signals; /* signalfd */
};

static bool is_mounted(const char *dir)
{
	cleanup_mount_list struct mount_list mounts = {0};
	const struct mount_entry *e;

	if (mount_list_read(&mounts) < 0)
		return false;
	e = mount_list_top(&mounts, dir);
	return e && mount_entry_is_ours(e);
}

static char unmount(const char *dir)
{
	if (!is_mounted(dir) || unmount_at(dir, false, NULL) == 0)
		return ANSWER_DONE;
	return unmount_at(dir, true, NULL) == 0 ? ANSWER_DETACHED
						: ANSWER_FAILED;
}

/* The worker's request, whatever it says; false: it is gone. */
static bool answer_request(struct helper *h)
{
	char c;

	if (recv(h->link, &c, 1, MSG_DONTWAIT) <= 0)
		return errno == EAGAIN || errno == EINTR;
	c = unmount(h->job->mountpoint);
	send(h->link, &c, 1, MSG_NOSIGNAL);
	return true;
}

/*
 * The worker is gone: nobody answers for the mount any more, so nobody can be
 * using it; detach what is left of it.
 */
static int bury(struct helper *h, int status)
{
	if (is_mounted(h->job->mountpoint))
		unmount_at(h->job->mountpoint, true, NULL);
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	log_error("the worker of '%s' was ended by signal %d; it is unmounted",
		  h->job->mountpoint, WTERMSIG(status));
	return ERROR_DOWNLOAD;
}

/* True: the worker ended, with *@ret_status. */
static bool take_signal(struct helper *h, int *ret_status)
{
	struct signalfd_siginfo si;

	if (read(h->signals, &si, sizeof(si)) != sizeof(si))
		return false;
	if (si.ssi_signo != SIGCHLD) {
		kill(h->worker, (int)si.ssi_signo);
		return false;
	}
	return waitpid(h->worker, ret_status, WNOHANG) == h->worker;
}

static int watch(struct helper *h)
{
	int status;

	for (;;) {
		struct pollfd p[] = {{.fd = h->signals, .events = POLLIN},
				     {.fd = h->link, .events = POLLIN}};

		if (poll(p, ARRAY_SIZE(p), -1) < 0 && errno != EINTR)
			return ERROR_DOWNLOAD;
		if (p[1].revents && !answer_request(h))
			closep(&h->link);
		if (p[0].revents && take_signal(h, &status))
			return bury(h, status);
	}
}

static void forget_terminal(void)
{
	cleanup_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; null >= 0 && fd <= 2; fd++)
		dup2(null, fd);
}

static void close_inherited(struct mount_job *job)
{
	/* Whatever the caller left open (a pipe that somebody reads to its
	 * end) is not the daemon's. */
	job->report_fd =
		dup3(job->report_fd, 3, O_CLOEXEC) == 3 ? 3 : job->report_fd;
	close_range((unsigned)job->report_fd + 1, ~0u, 0);
}

static pid_t fork_worker(struct mount_job *job, int pair[2])
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	close(pair[0]);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	_exit(worker_run(job, pair[1]));
}

int helper_run(struct mount_job *job)
{
	struct helper h = {.job = job, .link = -1, .signals = -1};
	int pair[2];
	sigset_t set;

	/* A session of our own: the terminal's signals go to the caller. */
	setsid();
	if (job->foreground)
		prctl(PR_SET_PDEATHSIG, SIGTERM);
	close_inherited(job);
	if (chdir("/") < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return ERROR_DOWNLOAD;
	watched_signals(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);

	h.worker = fork_worker(job, pair);
	if (h.worker < 0)
		return ERROR_DOWNLOAD;
	close(pair[1]);
	closep(&job->report_fd);
	h.link = pair[0];
	h.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (job->foreground)
		log_open(job->log, NULL);
	else
		forget_terminal();
	return watch(&h);
}

int helper_ask_unmount(int helper_fd)
{
	struct pollfd p = {.fd = helper_fd, .events = POLLIN};
	char c = 'u';

	if (send(helper_fd, &c, 1, MSG_NOSIGNAL) < 0)
		return -errno;
	if (poll(&p, 1, 5000) <= 0)
		return -ETIMEDOUT;
	if (recv(helper_fd, &c, 1, 0) != 1)
		return -EPIPE;
	return c == ANSWER_DONE ? 0 : c == ANSWER_DETACHED ? 1 : -EIO;
}
