/* mopsfs doctor: what a mount would find here, and what became of those there
 * are. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "cli/checks.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "fs/mount.h"
#include "fs/pulse.h"
#include "fs/trial.h"
#include "fs/verbs.h"
#include "storage/program.h"

static void look_at_device(struct checks *k)
{
	cleanup_fd int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		check_ok(k, "fuse.device", "/dev/fuse can be opened");
	else
		check_bad(k, CHECK_FAILED, "fuse.device",
			  "'modprobe fuse' as root; a container needs "
			  "'--device /dev/fuse'",
			  "/dev/fuse: %s", strerror(errno));
}

static void look_at_helper(struct checks *k)
{
	cleanup_free char *path = program_find("fusermount3");

	if (path)
		check_ok(k, "fuse.fusermount", "'%s'", path);
	else if (geteuid() == 0)
		check_ok(k, "fuse.fusermount",
			 "there is no fusermount3; root does without");
	else
		check_bad(k, CHECK_FAILED, "fuse.fusermount", "install fuse3",
			  "there is no fusermount3 in PATH, by which users "
			  "mount");
}

static void look_at_library(struct checks *k)
{
#ifdef HAVE_FUSE_PASSTHROUGH
	check_ok(k, "fuse.library", "libfuse %s", fuse_pkgversion());
#else
	check_bad(k, CHECK_NOTE, "fuse.library",
		  "build with libfuse 3.17 or newer",
		  "libfuse %s, which has no passthrough", fuse_pkgversion());
#endif
}

static void try_mounting(struct checks *k)
{
	cleanup_error struct error *err = NULL;
	struct trial t;

	if (trial_mount(&t, &err) < 0) {
		check_error(k, "mount", err,
			    "a container needs '--device /dev/fuse' and "
			    "CAP_SYS_ADMIN; users need fusermount3 with its "
			    "setuid bit");
		return;
	}
	check_ok(k, "mount", "one was made, and ended");
	if (t.resends)
		check_ok(k, "mount.resend",
			 "the kernel asks the next worker again");
	else
		check_bad(k, CHECK_NOTE, "mount.resend",
			  "Linux 6.9 and newer ask the next one",
			  "what a worker that dies was asked fails");
	if (t.no_passthrough)
		check_bad(k, CHECK_NOTE, "mount.passthrough",
			  "mount as root, on Linux 6.9 or newer, with libfuse "
			  "3.17 or newer",
			  "big files are read by way of the daemon: %s",
			  t.no_passthrough);
	else
		check_ok(k, "mount.passthrough",
			 "the kernel can read big files by itself");
}

static void look_at_allow_other(struct checks *k)
{
	if (mount_options_may_allow_other())
		check_ok(k, "mount.allow_other", "it may be asked for");
	else
		check_bad(k, CHECK_NOTE, "mount.allow_other",
			  "'user_allow_other' in /etc/fuse.conf",
			  "mounts are for their user alone");
}

static void try_sandbox(const struct settings *settings, struct checks *k)
{
	cleanup_error struct error *err = NULL;
	cleanup_free char *lacks = NULL;
	int r = trial_sandbox(settings, &lacks, &err);

	if (r < 0)
		check_error(k, "mount.sandbox", err,
			    "mount with '-o sandbox=off'");
	else if (lacks)
		check_bad(k, CHECK_NOTE, "mount.sandbox",
			  "Linux 6.2 or newer, with seccomp, and with "
			  "landlock among its 'lsm='",
			  "a mount's worker is confined without %s", lacks);
	else
		check_ok(k, "mount.sandbox",
			 "a mount's worker is confined by Landlock and "
			 "seccomp");
}

static void say_pulse(const struct mount_entry *e, enum pulse pulse,
		      struct checks *k)
{
	cleanup_free char *remedy = xasprintf("mopsfs umount '%s'", e->dir);

	switch (pulse) {
	case PULSE_ALIVE:
		check_ok(k, "mounts", "'%s' answers", e->dir);
		return;
	case PULSE_FOREIGN:
		check_ok(k, "mounts", "'%s' is another user's", e->dir);
		return;
	case PULSE_UNKNOWN:
		check_bad(k, CHECK_NOTE, "mounts", "see 'ulimit -u'",
			  "'%s' could not be looked at", e->dir);
		return;
	case PULSE_HANGS:
		check_bad(k, CHECK_FAILED, "mounts", remedy,
			  "'%s' does not answer", e->dir);
		return;
	case PULSE_DEAD:
		check_bad(k, CHECK_FAILED, "mounts", remedy,
			  "'%s' is dead: nobody serves it", e->dir);
		return;
	}
}

static void look_at_mounts(struct checks *k)
{
	const struct op op = {
		.deadline_ns = time_deadline_ms(PULSE_PATIENCE_MS),
		.cancelled = interrupt_flag(),
	};
	cleanup_mount_list struct mount_list mounts = {0};
	int r = mount_list_read(&mounts);
	cleanup_free pid_t *looks = xcalloc(mounts.n, sizeof(*looks));

	if (r < 0)
		check_bad(k, CHECK_FAILED, "mounts", "mount /proc",
			  "reading the list of mounts: %s", strerror(-r));
	for (size_t i = 0; i < mounts.n; i++)
		if (mount_entry_is_ours(&mounts.e[i]))
			looks[i] = pulse_begin(&mounts.e[i]);
	for (size_t i = 0; i < mounts.n; i++)
		if (mount_entry_is_ours(&mounts.e[i]))
			say_pulse(&mounts.e[i], pulse_end(looks[i], &op), k);
}

int verb_doctor(struct cli *cli, struct error **errp)
{
	cleanup_checks struct checks k = {0};

	/* Who interrupts it leaves no mount behind. */
	interrupt_catch();
	look_at_device(&k);
	look_at_helper(&k);
	look_at_library(&k);
	look_at_mounts(&k);
	try_mounting(&k);
	look_at_allow_other(&k);
	try_sandbox(&cli->settings, &k);
	if (interrupt_signal())
		return error_set(errp, ECANCELED, "cancelled");
	if (cli->json)
		checks_print_json(&k, NULL, NULL);
	else
		checks_print(&k, cli->quiet);
	return checks_exit_status(&k);
}
