/*
 * The supervisor of a mount: the process that stays when a worker does not.
 *
 *   mopsfs mount ──fork──▶ supervisor ──fork──▶ worker
 *        ▲  waits for the report │ ▲                │ session, FUSE, everything
 *        │                       │ └──── link ──────┤
 *        └────────────── pipe ───┼──────────────────┘
 *                                └──fork or exec──▶ the next worker …
 *
 * It has one thread, no network code and nothing of the bundle, only a copy of
 * the mount's descriptors: while they are open the kernel keeps what was asked
 * of a dead worker. A successor gets the kernel's INIT again from the shared
 * table (handover.h), says that it is prepared, is told to begin, and has the
 * kernel ask again for all that was not answered.
 *
 *   starting ──mounted──▶ served ◀──begin── prepared ◀── next worker
 *      │                    │ killed, crashed, hung          ▲
 *      │                    ├────────────────────────────────┘ after a pause
 *      └──▶ ended ◀─────────┴ in order, asked to, too often
 *
 * An upgrade starts the next worker, from another program, beside the one that
 * serves, which is killed when the other is prepared: what it leaves
 * unanswered is asked of the new one. A program that does not get to serve is
 * given up for the one before it.
 *
 * It also unmounts for the worker, which gives up the privilege to do so.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/log.h"
#include "base/time.h"
#include "cli/output.h"
#include "fs/control.h"
#include "fs/job.h"
#include "fs/link.h"
#include "fs/mountinfo.h"
#include "fs/peer.h"
#include "fs/publisher.h"
#include "fs/sandbox.h"
#include "fs/spawn.h"
#include "fs/unmount.h"
#include "fs/watchdog.h"

/* So many workers in a row that crash, hang, or never serve, are the end; one
 * that served for a while proves that it can be done. */
#define MAX_DEATHS 8u
#define PROVEN_MS  10000
/* More SIGKILLs in a row, before it served, look like a lack of memory. */
#define MAX_KILLS  20u
#define PAUSE_MS   100 /* before the third of them; doubles */
#define UPGRADE_MS 60000
#define TICK_MS    1000
/* Who stops a mount waits at most this long, thrice, for a file system that
 * hangs. */
#define PUBLISH_MS 5000

struct supervisor {
	struct mount_job *job;
	struct handover h;
	/* Which it is, told by the worker that made it: another mount's may
	 * come to have its place. */
	struct stat socket;
	struct child worker, next; /* next: while there is an upgrade */
	int signals;               /* signalfd */
	char *cwd;        /* the caller's, which arguments count from */
	int program;      /* what to run; -1: this one */
	int next_program; /* not proven yet; -1 */
	int asker;        /* the client that waits for the upgrade */
	char *refusal;    /* what it is told when next is dead; NULL */
	int64_t upgrade_until_ns;

	int signal;      /* that asked us to end; 0 */
	bool ending;     /* the worker ends in order */
	bool hung;       /* and was therefore killed */
	unsigned deaths; /* in a row, that may come again */
	unsigned kills;  /* in a row, before it served */
	uint64_t ooms;   /* kernel_ooms() when the last worker died */
	int64_t serving_since_ns, restart_ns; /* 0: not now */
	struct publisher publisher;
	struct watchdog watchdog;
};

/*
 * Unmounting.
 */

static bool is_connected(const struct supervisor *s)
{
	struct pollfd p = {.fd = s->h.device};

	return s->h.device >= 0 &&
	       (poll(&p, 1, 0) <= 0 || !(p.revents & POLLERR));
}

/* As unmount_own(). */
static int unmount(struct supervisor *s)
{
	/* Until it hands the mount in, only its worker can know. */
	if (s->h.device < 0)
		return unmount_own(s->job->mountpoint, &s->h.table->identity);
	/* A number alone may be another mount's as soon as ours is gone. */
	if (!s->h.identity.unique && !is_connected(s))
		return 0;
	return unmount_own(s->job->mountpoint, &s->h.identity);
}

/* Nobody will answer for the mount any more: take away what is left of it. */
static void bury(struct supervisor *s)
{
	int r;

	/* A notifier that waits for an answer has the device open. */
	if (s->h.device >= 0 && s->job->options->fill_mb)
		unmount_abort(s->job->mountpoint, &s->h.identity);
	r = unmount(s);

	if (r < 0)
		log_error("'%s' cannot be unmounted: %s", s->job->mountpoint,
			  strerror(-r));
	if (s->h.listener >= 0)
		control_remove(s->h.listener, &s->socket);
}

/*
 * Starting workers.
 */

static int spawn(struct supervisor *s, struct child *c, int program)
{
	const int own[] = {s->worker.link, s->next.link, s->signals, s->asker,
			   s->h.lease};

	return spawn_worker(&(struct spawn){s->job, &s->h, s->cwd, program, own,
					    ARRAY_SIZE(own)},
			    c);
}

static void begin(struct supervisor *s)
{
	watchdog_reset(&s->watchdog, &s->h);
	link_send(s->worker.link, LINK_BEGIN, NULL, NULL, 0);
}

/*
 * Upgrades.
 */

/* NULL: done. Whoever does not read it is not waited for. */
static void answer(int asker, const char *failure)
{
	cleanup_free char *text =
		failure ? xasprintf("failed %s\n", failure) : xstrdup("done\n");

	send(asker, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void answer_asker(struct supervisor *s, const char *failure)
{
	if (s->asker >= 0)
		answer(s->asker, failure);
	closep(&s->asker);
}

static void tell_refusal(struct supervisor *s)
{
	if (s->refusal)
		answer_asker(s, s->refusal);
	free(s->refusal);
	s->refusal = NULL;
}

static void give_up_upgrade(struct supervisor *s, const char *why)
{
	if (s->next_program < 0)
		return;
	log_error("'%s' is not upgraded: %s", s->job->mountpoint, why);
	closep(&s->next_program);
	s->upgrade_until_ns = 0;
	if (!s->next.pid) {
		answer_asker(s, why);
		return;
	}
	/* Who asked hears of it when nothing is in the way of asking again. */
	s->refusal = xstrdup(why);
	s->next.prepared = false;
	kill(s->next.pid, SIGKILL);
	closep(&s->next.link);
}

/* Did it come to our status socket? */
static bool is_client(const struct supervisor *s, int fd)
{
	cleanup_free char *came_to = control_path(fd);
	cleanup_free char *ours = control_path(s->h.listener);

	return came_to && ours && !strcmp(came_to, ours);
}

static void begin_upgrade(struct supervisor *s, struct link_message *m)
{
	int r;

	if (!is_client(s, m->fds[0]))
		return;
	if (s->next_program >= 0 || s->next.pid) {
		answer(m->fds[0], "another upgrade is going on");
		return;
	}
	s->asker = m->fds[0];
	m->fds[0] = -1;
	r = peer_program(s->asker, m->text);
	s->next_program = MAX(r, -1);
	if (r < 0) {
		answer_asker(s, r == -EPERM ? "another program asks for it"
					    : strerror(-r));
		return;
	}
	log_info("'%s' is upgraded to '%s'", s->job->mountpoint, m->text);
	s->upgrade_until_ns = time_deadline_ms(UPGRADE_MS);
	r = handover_can_resend(s->h.table)
		    ? spawn(s, &s->next, s->next_program)
		    : -EOPNOTSUPP;
	if (r < 0)
		give_up_upgrade(s, r == -EOPNOTSUPP ? "that needs Linux 6.9"
						    : strerror(-r));
}

static void now_serving(struct supervisor *s)
{
	s->worker.serving = true;
	s->serving_since_ns = time_mono_ns();
	if (s->next_program < 0 || s->next.pid)
		return;
	/* It was the new program's. */
	closep(&s->program);
	s->program = s->next_program;
	s->next_program = -1;
	s->upgrade_until_ns = 0;
	answer_asker(s, NULL);
}

/*
 * Messages.
 */

/* Once: a worker that was taken over is not to bring others. */
static void take_descriptors(struct supervisor *s, struct link_message *m)
{
	if (s->h.device >= 0 || m->fds[0] < 0)
		return;
	closep(&s->job->device);
	s->h.device = m->fds[0];
	s->h.lease = m->fds[1];
	s->h.listener = m->fds[2];
	s->h.identity = s->h.table->identity;
	s->h.passthrough = s->h.table->passthrough;
	control_look(s->h.listener, &s->socket);
	for (size_t i = 0; i < LINK_FDS; i++)
		m->fds[i] = -1;
	now_serving(s);
}

/* The new program takes over from a worker that is dead now. */
static void promote_next(struct supervisor *s)
{
	s->worker = s->next;
	s->next = (struct child){.link = -1};
	s->restart_ns = 0;
	begin(s);
}

/* The new program is as far as it can be beside the old one. */
static void is_prepared(struct supervisor *s, struct child *c)
{
	c->prepared = true;
	if (c == &s->worker)
		begin(s);
	else if (s->worker.pid)
		kill(s->worker.pid, SIGKILL);
	else if (s->next.pid)
		promote_next(s);
}

static void take_message(struct supervisor *s, struct child *c,
			 struct link_message *m)
{
	switch (m->word) {
	case LINK_MOUNTED:
		take_descriptors(s, m);
		return;
	case LINK_REPORTED:
		closep(&s->job->report_fd);
		return;
	case LINK_PREPARED:
		is_prepared(s, c);
		return;
	case LINK_SERVING:
		now_serving(s);
		return;
	case LINK_FAILED:
		log_error("the next worker of '%s': %s", s->job->mountpoint,
			  m->text);
		if (c == &s->next || s->next_program >= 0)
			give_up_upgrade(s, m->text);
		return;
	case LINK_ENDING:
		s->ending = true;
		return;
	case LINK_UNMOUNT:
		link_tell_unmounted(c->link, unmount(s));
		return;
	case LINK_UPGRADE:
		begin_upgrade(s, m);
		return;
	}
}

static void receive(struct supervisor *s, struct child *c)
{
	struct link_message m;

	if (!link_receive(c->link, &m)) {
		closep(&c->link);
		return;
	}
	take_message(s, c, &m);
	for (size_t i = 0; i < LINK_FDS; i++)
		closep(&m.fds[i]);
}

/* What a dead one had still to say. */
static void receive_rest(struct supervisor *s, struct child *c)
{
	struct pollfd p = {.events = POLLIN};

	while ((p.fd = c->link) >= 0 && poll(&p, 1, 0) > 0)
		receive(s, c);
}

/*
 * Deaths.
 */

/* How many processes the kernel killed for lack of memory, of its own or of a
 * control group; 0: it does not say. */
static uint64_t kernel_ooms(void)
{
	static const char key[] = "\noom_kill ";
	cleanup_free char *text = NULL;
	const char *found;
	size_t n;

	if (io_read_file(AT_FDCWD, "/proc/vmstat", 1u << 16, &text, &n) < 0)
		return 0;
	found = memmem(text, n, key, strlen(key));
	return found ? strtoull(found + strlen(key), NULL, 10) : 0;
}

/* A worker that needs too much memory will need it again. */
static bool was_out_of_memory(struct supervisor *s, int status)
{
	uint64_t before = s->ooms;

	s->ooms = kernel_ooms();
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL &&
	       s->ooms > before;
}

static void describe_end(struct supervisor *s, int status, bool oom)
{
	char *text = s->h.table->last_end;
	size_t n = sizeof(s->h.table->last_end);

	if (s->hung)
		snprintf(text, n, "it was hung");
	else if (oom)
		snprintf(text, n, "it was ended for lack of memory");
	else if (WIFSIGNALED(status))
		snprintf(text, n, "it was ended by signal %d",
			 WTERMSIG(status));
	else
		snprintf(text, n, "it ended with status %d",
			 WEXITSTATUS(status));
}

/* Someone's SIGKILL says nothing about the worker; all else may come again, the
 * kernel's for lack of memory, too. */
static void count_death(struct supervisor *s, int status, bool oom)
{
	int64_t now = time_mono_ns();
	bool served = s->worker.serving;
	bool killed =
		WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && !oom;

	if (served && (now - s->serving_since_ns > PROVEN_MS * NS_PER_MS ||
		       (killed && !s->hung)))
		s->deaths = 0;
	if (s->hung || !killed)
		s->deaths++;
	s->kills = killed && !served ? s->kills + 1 : 0;
	s->restart_ns = now;
	if (s->kills > MAX_KILLS)
		s->restart_ns += NS_PER_S;
	if (s->deaths > 2)
		s->restart_ns +=
			((int64_t)PAUSE_MS << (s->deaths - 3)) * NS_PER_MS;
}

/* Who asked for the mount knows of it: the report ends when we close it, too.
 * So there is no moment at which a worker dies and only one of the two knows. */
static bool is_told(const struct supervisor *s)
{
	return s->job->report_fd < 0;
}

/* True: it is over, with *@ret_status. */
static bool worker_died(struct supervisor *s, int status, int *ret_status)
{
	/* Who is not told yet learns that it failed, and waits for us. */
	bool oom = was_out_of_memory(s, status);
	bool orderly = s->ending || s->signal || s->h.device < 0 || !is_told(s);

	describe_end(s, status, oom);
	*ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : ERROR_DOWNLOAD;
	if (orderly || !is_connected(s) || !handover_can_go_on(s->h.table)) {
		if (!WIFEXITED(status))
			log_error("the worker of '%s': %s; it is unmounted",
				  s->job->mountpoint, s->h.table->last_end);
		return true;
	}
	count_death(s, status, oom);
	if (s->deaths >= MAX_DEATHS) {
		log_error("'%s' is given up after %u workers in a row, the "
			  "last because %s; it is unmounted",
			  s->job->mountpoint, s->deaths, s->h.table->last_end);
		*ret_status = ERROR_DOWNLOAD;
		return true;
	}
	s->h.table->restarts++;
	log_warn("the worker of '%s' is replaced: %s", s->job->mountpoint,
		 s->h.table->last_end);
	return false;
}

static void next_died(struct supervisor *s)
{
	s->next.pid = 0; /* first: it may say that it is prepared */
	receive_rest(s, &s->next);
	closep(&s->next.link);
	give_up_upgrade(s, "the new program ended");
	tell_refusal(s);
}

static bool child_died(struct supervisor *s, pid_t pid, int status,
		       int *ret_status)
{
	bool over;

	if (publisher_died(&s->publisher, pid, status))
		return false;
	if (pid == s->next.pid) {
		next_died(s);
		return false;
	}
	if (pid != s->worker.pid)
		return false;
	receive_rest(s, &s->worker);
	closep(&s->worker.link);
	s->worker.pid = 0;
	over = worker_died(s, status, ret_status);
	s->hung = false;
	if (!over && s->next.pid && s->next.prepared)
		promote_next(s);
	else if (!over && !s->next.pid)
		give_up_upgrade(s, "the new program ended");
	return over;
}

static bool reap(struct supervisor *s, int *ret_status)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (child_died(s, pid, status, ret_status))
			return true;
	return false;
}

/* True: it is over, with *@ret_status. */
static bool take_signals(struct supervisor *s, int *ret_status)
{
	struct signalfd_siginfo si;

	while (read(s->signals, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo == SIGCHLD)
			continue;
		s->signal = (int)si.ssi_signo;
		give_up_upgrade(s, "the mount is ended");
		tell_refusal(s);
		if (s->worker.pid)
			kill(s->worker.pid, s->signal);
	}
	if (reap(s, ret_status))
		return true;
	*ret_status =
		s->signal == SIGINT ? EXIT_STATUS_SIGINT : EXIT_STATUS_SIGTERM;
	return s->signal && !s->worker.pid;
}

static void look_after_worker(struct supervisor *s, int64_t now)
{
	if (!watchdog_sees_a_hang(&s->watchdog, &s->h, now,
				  s->job->options->watchdog_s * NS_PER_S))
		return;
	log_error("the worker of '%s' hangs: killed", s->job->mountpoint);
	s->hung = true;
	kill(s->worker.pid, SIGKILL);
}

/*
 * The loop.
 */

/* True: it is over, with *@ret_status. */
static bool take_time(struct supervisor *s, int *ret_status)
{
	int64_t now = time_mono_ns();

	if (s->upgrade_until_ns && now > s->upgrade_until_ns)
		give_up_upgrade(s, "the new program took too long");
	if (s->worker.serving && s->worker.pid && !s->hung &&
	    handover_can_go_on(s->h.table))
		look_after_worker(s, now);
	if (is_told(s))
		publisher_look(&s->publisher, &s->h.table->record, now);
	if (s->worker.pid)
		return false;
	*ret_status = 0;
	if (!is_connected(s))
		return true; /* unmounted meanwhile */
	if (now >= s->restart_ns && spawn(s, &s->worker, s->program) < 0)
		s->restart_ns = now + TICK_MS * NS_PER_MS;
	return false;
}

static int patience_ms(const struct supervisor *s)
{
	int64_t ms = (s->restart_ns - time_mono_ns()) / NS_PER_MS + 1;

	return s->worker.pid ? TICK_MS : (int)MIN(MAX(ms, 0), TICK_MS);
}

static int watch(struct supervisor *s)
{
	int status = 0;

	do {
		struct pollfd p[] = {
			{.fd = s->signals, .events = POLLIN},
			{.fd = s->worker.link, .events = POLLIN},
			{.fd = s->next.link, .events = POLLIN},
		};

		if (poll(p, ARRAY_SIZE(p), patience_ms(s)) < 0 &&
		    errno != EINTR)
			return ERROR_DOWNLOAD;
		if (p[1].revents)
			receive(s, &s->worker);
		if (p[2].revents)
			receive(s, &s->next);
		if (p[0].revents && take_signals(s, &status))
			break;
	} while (!take_time(s, &status));
	bury(s);
	/* Whoever still reads from a mount that is detached is told now. */
	closep(&s->h.device);
	if (is_told(s))
		publisher_end(&s->publisher, &s->h.table->record, PUBLISH_MS);
	else
		job_report_end(s->job);
	return status;
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
	cleanup_fd int device =
		job->received ? fcntl(job->device, F_DUPFD_CLOEXEC, 5) : -1;

	job->report_fd =
		dup3(job->report_fd, 3, O_CLOEXEC) == 3 ? 3 : job->report_fd;
	job->device = device >= 0 ? dup3(device, 4, O_CLOEXEC) : -1;
	close_range(MAX((unsigned)job->report_fd, 4u) + 1, ~0u, 0);
	device = -1;
}

int supervisor_run(struct mount_job *job)
{
	struct supervisor s = {.job = job,
			       .worker.link = -1,
			       .next.link = -1,
			       .program = -1,
			       .next_program = -1,
			       .asker = -1,
			       .ooms = kernel_ooms(),
			       .publisher.path = job->options->record};

	if (!job->options->no_sandbox)
		sandbox_prepare();
	if (job->foreground)
		job_end_with(job->caller);
	close_inherited(job);
	s.cwd = getcwd(NULL, 0);
	if (chdir("/") < 0 || handover_make(&s.h, NULL) < 0)
		return ERROR_DOWNLOAD;
	signal(SIGPIPE, SIG_IGN);
	s.signals = job_catch_signals();
	if (spawn(&s, &s.worker, -1) < 0)
		return ERROR_DOWNLOAD;
	/* A session of our own: the terminal's signals go to the caller. The
	 * worker follows when it has mounted. */
	setsid();
	if (!job->foreground)
		forget_terminal();
	log_open(job->log, NULL);
	return watch(&s);
}
