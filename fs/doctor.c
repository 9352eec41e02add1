/* mopsfs doctor: what a mount would find here, and what became of those there
 * are. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "cli/findings.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "fs/mount.h"
#include "fs/pulse.h"
#include "fs/trial.h"
#include "fs/verbs.h"
#include "storage/program.h"

static void look_at_device(struct findings *f)
{
	cleanup_fd int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		finding_ok(f, "fuse.device", "/dev/fuse can be opened");
	else
		finding_bad(f, FINDING_FAILED, "fuse.device",
			    "'modprobe fuse' as root; a container needs "
			    "'--device /dev/fuse'",
			    "/dev/fuse: %s", strerror(errno));
}

static void look_at_helper(struct findings *f)
{
	cleanup_free char *path = program_find("fusermount3");

	if (path)
		finding_ok(f, "fuse.fusermount", "'%s'", path);
	else if (geteuid() == 0)
		finding_ok(f, "fuse.fusermount",
			   "there is no fusermount3; root does without");
	else
		finding_bad(f, FINDING_FAILED, "fuse.fusermount",
			    "install fuse3",
			    "there is no fusermount3 in PATH, by which users "
			    "mount");
}

static void look_at_library(struct findings *f)
{
#ifdef HAVE_FUSE_PASSTHROUGH
	finding_ok(f, "fuse.library", "libfuse %s", fuse_pkgversion());
#else
	finding_bad(f, FINDING_NOTE, "fuse.library",
		    "build with libfuse 3.17 or newer",
		    "libfuse %s, which has no passthrough", fuse_pkgversion());
#endif
}

static void try_mounting(struct findings *f)
{
	cleanup_error struct error *err = NULL;
	struct trial t;

	if (trial_mount(&t, &err) < 0) {
		finding_error(f, "mount", err,
			      "a container needs '--device /dev/fuse' and "
			      "CAP_SYS_ADMIN; users need fusermount3 with its "
			      "setuid bit");
		return;
	}
	finding_ok(f, "mount", "one was made, and ended");
	if (t.resends)
		finding_ok(f, "mount.resend",
			   "the kernel asks the next worker again");
	else
		finding_bad(f, FINDING_NOTE, "mount.resend",
			    "Linux 6.9 and newer ask the next one",
			    "what a worker that dies was asked fails");
	if (t.no_passthrough)
		finding_bad(
			f, FINDING_NOTE, "mount.passthrough",
			"mount as root, on Linux 6.9 or newer, with libfuse "
			"3.17 or newer",
			"big files are read by way of the daemon: %s",
			t.no_passthrough);
	else
		finding_ok(f, "mount.passthrough",
			   "the kernel can read big files by itself");
}

static void look_at_allow_other(struct findings *f)
{
	if (mount_options_may_allow_other())
		finding_ok(f, "mount.allow_other", "it may be asked for");
	else
		finding_bad(f, FINDING_NOTE, "mount.allow_other",
			    "'user_allow_other' in /etc/fuse.conf",
			    "mounts are for their user alone");
}

static void try_sandbox(const struct settings *settings, struct findings *f)
{
	cleanup_error struct error *err = NULL;
	cleanup_free char *lacks = NULL;
	int r = trial_sandbox(settings, &lacks, &err);

	if (r < 0)
		finding_error(f, "mount.sandbox", err,
			      "mount with '-o sandbox=off'");
	else if (lacks)
		finding_bad(f, FINDING_NOTE, "mount.sandbox",
			    "Linux 6.2 or newer, with seccomp, and with "
			    "landlock among its 'lsm='",
			    "a mount's worker is confined without %s", lacks);
	else
		finding_ok(f, "mount.sandbox",
			   "a mount's worker is confined by Landlock and "
			   "seccomp");
}

static void say_pulse(const struct mount_entry *e, enum pulse pulse,
		      struct findings *f)
{
	cleanup_free char *remedy = xasprintf("mopsfs umount '%s'", e->dir);

	switch (pulse) {
	case PULSE_ALIVE:
		finding_ok(f, "mounts", "'%s' answers", e->dir);
		return;
	case PULSE_FOREIGN:
		finding_ok(f, "mounts", "'%s' is another user's", e->dir);
		return;
	case PULSE_HANGS:
		finding_bad(f, FINDING_FAILED, "mounts", remedy,
			    "'%s' does not answer", e->dir);
		return;
	case PULSE_DEAD:
		finding_bad(f, FINDING_FAILED, "mounts", remedy,
			    "'%s' is dead: nobody serves it", e->dir);
		return;
	}
}

static void look_at_mounts(struct findings *f)
{
	const struct op op = {
		.deadline_ns = time_deadline_ms(PULSE_PATIENCE_MS),
		.cancelled = interrupt_flag(),
	};
	cleanup_mount_list struct mount_list mounts = {0};
	int r = mount_list_read(&mounts);
	cleanup_free pid_t *looks = xcalloc(mounts.n, sizeof(*looks));

	if (r < 0)
		finding_bad(f, FINDING_FAILED, "mounts", "mount /proc",
			    "reading the list of mounts: %s", strerror(-r));
	for (size_t i = 0; i < mounts.n; i++)
		if (mount_entry_is_ours(&mounts.e[i]))
			looks[i] = pulse_begin(&mounts.e[i]);
	for (size_t i = 0; i < mounts.n; i++)
		if (mount_entry_is_ours(&mounts.e[i]))
			say_pulse(&mounts.e[i], pulse_end(looks[i], &op), f);
}

int verb_doctor(struct cli *cli, struct error **errp)
{
	cleanup_findings struct findings f = {0};

	/* Who interrupts it leaves no mount behind. */
	interrupt_catch();
	look_at_device(&f);
	look_at_helper(&f);
	look_at_library(&f);
	look_at_mounts(&f);
	try_mounting(&f);
	look_at_allow_other(&f);
	try_sandbox(&cli->settings, &f);
	if (interrupt_signal())
		return error_set(errp, ECANCELED, "cancelled");
	if (cli->json)
		findings_print_json(&f, NULL, NULL);
	else
		findings_print(&f, cli->quiet);
	return findings_exit_status(&f);
}
