/* mopsfs mount: check, fork, wait until the tree can be read. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/escape.h"
#include "base/io.h"
#include "base/json.h"
#include "cli/output.h"
#include "fs/job.h"
#include "fs/link.h"
#include "fs/mountinfo.h"
#include "fs/place.h"
#include "fs/received.h"
#include "fs/verbs.h"

const struct arg_option mount_verb_options[] = {
	{"options", 'o', "LIST", true,
	 "mount options: io=auto|passthrough|cached, allow_other, noexec, "
	 "readahead_kb=N, fill_mb=N, watchdog=SECONDS, prefetch=WHAT, "
	 "record=FILE, "
	 "stacked_cache, sandbox=on|off, fsname=NAME, "
	 "and any setting by name"},
	{"foreground", 'f', NULL, false, "stay until the mount ends"},
	{"prefetch", 0, "WHAT", false,
	 "fetch in the background: none (default), role (all of its files), "
	 "list=FILE (the files that it names), trace=FILE (what was "
	 "recorded, in its order), or trace (what is attached to the "
	 "bundle)"},
	{"record", 0, "FILE", false,
	 "write to FILE in what order content is first asked for"},
	{"no-sandbox", 0, NULL, false,
	 "let the daemon do all that its user may, as -o sandbox=off"},
	{"ready-fd", 0, "N", false,
	 "write a newline to descriptor N when the tree can be read"},
	{"log", 0, "TARGET", false,
	 "where the daemon logs: journal (default), syslog, stderr (default "
	 "with -f) or a file"},
	{NULL},
};

struct caller {
	struct cli *cli;
	struct mount_options options;
	char **option_texts; /* taken apart; settings lead into them */
	struct reference ref;
	char *mountpoint, *log, *record, *prefetch;
	bool received; /* of a device, not a folder */
	int device;    /* that one; -1 */
	int ready_fd;
	int signals; /* signalfd */
	pid_t supervisor;
	enum mount_stage *stage;
};

static void caller_release(struct caller *c)
{
	strv_free(c->option_texts);
	reference_release(&c->ref);
	free(c->mountpoint);
	free(c->log);
	free(c->record);
	free(c->prefetch);
	closep(&c->signals);
}
#define cleanup_caller __attribute__((cleanup(caller_release)))

/* Options may hold settings: read all, then load the settings anew. */
static int read_options(struct caller *c, struct error **errp)
{
	struct cli *cli = c->cli;
	const char *text;
	int r = 0;

	for (size_t i = 0; (text = cli_value_at(cli, "options", i)); i++)
		strv_append(&c->option_texts, xstrdup(text));
	if (cli_has(cli, "no-sandbox"))
		c->options.no_sandbox = true;
	c->options.sloppy = cli_has(cli, "sloppy");
	/* Then `mount -a` sees that it is mounted already. */
	if (c->options.by_mount8 && mount_options_fsname_is_plain(cli->args[0]))
		c->options.fsname = cli->args[0];
	for (char **p = c->option_texts; r == 0 && p && *p; p++)
		r = mount_options_parse(*p, &c->options, cli, errp);
	if (r == 0 && cli_has(cli, "prefetch"))
		r = mount_options_set_prefetch(
			&c->options, cli_value(cli, "prefetch"), errp);
	if (r < 0 || !c->option_texts)
		return r;
	settings_release(&cli->settings);
	return settings_load(cli->flags, cli->n_flags, &cli->settings, errp);
}

static int read_ready_fd(struct caller *c, struct error **errp)
{
	const char *text = cli_value(c->cli, "ready-fd");
	char *end;
	long n;

	if (!text)
		return 0;
	n = strtol(text, &end, 10);
	if (end == text || *end || n < 0 || n > INT32_MAX ||
	    fcntl((int)n, F_GETFL) < 0)
		return error_set(errp, EINVAL,
				 "'--ready-fd %s' is not an open descriptor",
				 text);
	c->ready_fd = (int)n;
	return 0;
}

static bool is_log_file(const char *target)
{
	return strcmp(target, "stderr") && strcmp(target, "syslog") &&
	       strcmp(target, "journal");
}

/* The daemon will be somewhere else. */
static char *from_here(const char *path)
{
	cleanup_free char *cwd = getcwd(NULL, 0);

	return *path != '/' && cwd ? xasprintf("%s/%s", cwd, path)
				   : xstrdup(path);
}

static void read_files(struct caller *c)
{
	struct mount_options *o = &c->options;

	if (cli_has(c->cli, "record"))
		o->record = cli_value(c->cli, "record");
	if (o->record)
		o->record = c->record = from_here(o->record);
	if (o->prefetch_file)
		o->prefetch_file = c->prefetch = from_here(o->prefetch_file);
}

static void read_log(struct caller *c)
{
	const char *text = cli_value(c->cli, "log");

	if (!text)
		text = cli_has(c->cli, "foreground") ? "stderr" : "journal";
	c->log = is_log_file(text) ? from_here(text) : xstrdup(text);
}

static int read_reference(struct caller *c, struct error **errp)
{
	int r = reference_parse(c->cli->args[0], c->cli->settings.registry,
				&c->ref, errp);

	/* The daemon will be somewhere else. */
	if (r == 0 && c->ref.layout && c->ref.registry[0] != '/') {
		cleanup_free char *cwd = getcwd(NULL, 0);
		char *folder;

		if (!cwd)
			return error_set_errno(errp, errno,
					       "the current folder");
		folder = xasprintf("%s/%s", cwd, c->ref.registry);
		free(c->ref.registry);
		c->ref.registry = folder;
	}
	return r;
}

static int check_allow_other(const struct caller *c, struct error **errp)
{
	if (!c->options.allow_other || mount_options_may_allow_other())
		return 0;
	error_set_kind(errp, ERROR_VALIDATION, EPERM,
		       "'-o allow_other' is for root on this machine");
	return error_hint(errp, -EPERM,
			  "'user_allow_other' in /etc/fuse.conf allows it to "
			  "all users");
}

/* Everything of ours that a mount must not cover. */
static int check_place(struct caller *c, struct error **errp)
{
	const char *home = getenv("XDG_CONFIG_HOME");
	cleanup_free char *config =
		home && *home ? xasprintf("%s/mops", home)
			      : xasprintf("%s/.config/mops",
					  getenv("HOME") ? getenv("HOME") : "");
	const char *needed[9] = {".", "/etc/mops", config,
				 c->cli->settings.cache_dir};
	size_t n = 4;

	if (c->ref.layout)
		needed[n++] = c->ref.registry;
	if (is_log_file(c->log))
		needed[n++] = c->log;
	if (c->record)
		needed[n++] = c->record;
	if (c->prefetch)
		needed[n++] = c->prefetch;
	return place_check(c->mountpoint, needed, errp);
}

static int read_device(struct caller *c, int number, struct error **errp)
{
	const char *arg = c->cli->args[1];

	if (c->options.allow_other || c->options.noexec || c->options.fsname)
		return error_set(errp, EINVAL,
				 "'-o' allow_other, noexec and fsname are for "
				 "who mounted '%s'",
				 arg);
	c->received = true;
	/* A successor's is another one. */
	if (c->device < 0)
		c->device = number;
	c->mountpoint = received_folder(c->device);
	if (!c->mountpoint)
		c->mountpoint = xstrdup(arg);
	return 0;
}

static int read_mountpoint(struct caller *c, struct error **errp)
{
	const char *arg = c->cli->args[1];
	int number = received_number(arg);

	if (number >= 0)
		return read_device(c, number, errp);
	c->mountpoint = mountpoint_path(arg);
	if (c->mountpoint)
		return 0;
	return error_kind(errp,
			  error_set_errno(errp, errno, "mountpoint '%s'", arg),
			  ERROR_VALIDATION);
}

/* What is to be mounted, and how. */
static int read_job(struct caller *c, struct error **errp)
{
	int r = read_options(c, errp);

	if (r == 0)
		r = read_reference(c, errp);
	if (r < 0)
		return r;
	read_log(c);
	read_files(c);
	return read_mountpoint(c, errp);
}

static int prepare(struct caller *c, struct error **errp)
{
	int r = read_ready_fd(c, errp);

	if (r == 0)
		r = read_job(c, errp);
	if (r == 0)
		r = check_allow_other(c, errp);
	if (r == 0 && c->record)
		r = record_check(c->record, errp);
	if (r != 0)
		return r;
	*c->stage = MOUNT_CHECKING;
	return c->received ? received_check(c->device, errp)
			   : check_place(c, errp);
}

/*
 * Waiting.
 */

static void pass_signals_on(struct caller *c)
{
	struct signalfd_siginfo si;

	while (read(c->signals, &si, sizeof(si)) == sizeof(si))
		if (si.ssi_signo != SIGCHLD)
			kill(c->supervisor, (int)si.ssi_signo);
}

/* Wait for @fd to have something, handing signals to the supervisor, which
 * ends everything in order. */
static void wait_for_report(struct caller *c, int fd)
{
	struct pollfd p[] = {{.fd = fd, .events = POLLIN},
			     {.fd = c->signals, .events = POLLIN}};

	do {
		p[0].revents = p[1].revents = 0;
		poll(p, ARRAY_SIZE(p), -1);
		if (p[1].revents)
			pass_signals_on(c);
	} while (!p[0].revents);
}

static int wait_for_supervisor(struct caller *c)
{
	struct pollfd p = {.fd = c->signals, .events = POLLIN};
	int status;

	while (waitpid(c->supervisor, &status, WNOHANG) != c->supervisor) {
		poll(&p, 1, -1);
		pass_signals_on(c);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : ERROR_DOWNLOAD;
}

/* Tell systemd (sd_notify(3)) that the service is up. */
static void notify_manager(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	static const char text[] = "READY=1\nSTATUS=mounted\n";
	cleanup_fd int fd = -1;
	size_t n = path ? strlen(path) : 0;

	if (n < 2 || n >= sizeof(a.sun_path))
		return;
	memcpy(a.sun_path, path, n);
	if (path[0] == '@')
		a.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		sendto(fd, text, sizeof(text) - 1, MSG_NOSIGNAL,
		       (struct sockaddr *)&a,
		       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
}

static void say_ready(struct caller *c, const struct strbuf *doc)
{
	cleanup_json struct json *j = NULL;

	if (c->ready_fd >= 0) {
		io_write_full(c->ready_fd, "\n", 1);
		close(c->ready_fd);
	}
	notify_manager();
	if (c->cli->json) {
		output_json(doc);
		fflush(stdout);
	} else if (!c->cli->quiet &&
		   json_parse(doc->buf, doc->len, &JSON_LIMITS_DOC, &j, NULL) ==
			   0) {
		int64_t nodes = 0, bytes = 0;

		json_int(json_get(j, "nodes"), &nodes);
		json_int(json_get(j, "bytes"), &bytes);
		print_line(stderr,
			   "mounted %s (%s, role %s, %lld entries, %s) on %s",
			   json_str(json_get(j, "reference")),
			   json_str(json_get(j, "digest")),
			   json_str(json_get(j, "role")), (long long)nodes,
			   output_size((uint64_t)bytes).str, c->mountpoint);
	}
}

static struct mount_job job_of(struct caller *c)
{
	return (struct mount_job){
		.settings = &c->cli->settings,
		.options = &c->options,
		.reference = &c->ref,
		.mountpoint = c->mountpoint,
		.log = c->log,
		.foreground = cli_has(c->cli, "foreground"),
		.caller = getpid(),
		.received = c->received,
		.device = c->device,
		.report_fd = -1,
	};
}

/* This program was started to go on with a mount that another one began, by
 * the command line that began it. */
static int succeed(struct caller *c, const char *given, struct error **errp)
{
	struct handover h = {.lease = -1, .successor = true};
	struct mount_job job;
	int link, passthrough, r;

	if (sscanf(given, "%d,%d,%d,%d,%u,%u,%" SCNu64 ",%d", &link, &h.memory,
		   &h.device, &h.listener, &h.identity.major, &h.identity.minor,
		   &h.identity.unique, &passthrough) != 8)
		return error_set(errp, EINVAL, JOB_VARIABLE " is '%s'", given);
	h.passthrough = passthrough;
	unsetenv(JOB_VARIABLE);
	c->device = h.device;
	r = read_job(c, errp);
	if (r == 0)
		r = handover_map(&h, errp);
	if (r < 0) {
		link_send(link, LINK_FAILED, (*errp)->message, NULL, 0);
		return r;
	}
	job = job_of(c);
	return chdir("/") < 0 ? error_set_errno(errp, errno, "/")
			      : worker_run(&job, &h, link);
}

static int fork_supervisor(struct caller *c, int *ret_report,
			   struct error **errp)
{
	struct mount_job job = job_of(c);
	int pipe_fds[2];

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return error_set_errno(errp, errno, "making a pipe");
	fflush(NULL);
	c->supervisor = fork();
	if (c->supervisor == 0) {
		close(pipe_fds[0]);
		job.report_fd = pipe_fds[1];
		_exit(supervisor_run(&job));
	}
	close(pipe_fds[1]);
	/* Held by those who serve it alone: when they are dead, so is it. */
	closep(&c->device);
	if (c->supervisor < 0) {
		close(pipe_fds[0]);
		return error_set_errno(errp, errno, "starting a process");
	}
	*ret_report = pipe_fds[0];
	return 0;
}

int mount_run(struct cli *cli, bool by_mount8, enum mount_stage *ret,
	      struct error **errp)
{
	cleanup_caller struct caller c = {.cli = cli,
					  .options = MOUNT_OPTIONS_DEFAULT,
					  .device = -1,
					  .ready_fd = -1,
					  .signals = -1,
					  .stage = ret};
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	const char *successor = getenv(JOB_VARIABLE);
	cleanup_fd int report = -1;
	int r;

	*ret = MOUNT_READING;
	c.options.by_mount8 = by_mount8;
	if (successor)
		return succeed(&c, successor, errp);
	r = prepare(&c, errp);
	if (r < 0 || cli_has(cli, "fake"))
		return r;
	*ret = MOUNT_STARTING;
	c.signals = job_catch_signals();
	r = fork_supervisor(&c, &report, errp);
	if (r < 0)
		return r;
	*ret = MOUNT_WORKING;
	wait_for_report(&c, report);
	r = job_read_report(report, &doc, errp);
	if (r < 0) {
		int status = wait_for_supervisor(&c);

		/* Ended by a signal to us: not an error to print. */
		if (status != EXIT_STATUS_SIGINT &&
		    status != EXIT_STATUS_SIGTERM)
			return r;
		error_freep(errp);
		return status;
	}
	say_ready(&c, &doc);
	return cli_has(cli, "foreground") ? wait_for_supervisor(&c) : 0;
}

int verb_mount(struct cli *cli, struct error **errp)
{
	enum mount_stage stage;

	return mount_run(cli, false, &stage, errp);
}
